"""Models in parts for several runtimes, as a folder: what the folder says of itself, and the runner that runs the parts in order.

Import from the modules inside. Nothing here is imported before such a folder is written or opened.
"""
