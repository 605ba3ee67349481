"""TensorRT's engines on a GPU: device memory and streams through the driver, engines through the library that built them.

Import from the modules inside. Nothing here is imported before a model runs.
"""
