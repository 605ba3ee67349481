"""Measurements of graphopt beside the tools of the field; each module runs as `python -m benchmarks.NAME`."""
