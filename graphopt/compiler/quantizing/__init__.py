"""Quantization as a tool: data in, a model in integers out, judged, and never slower than it was."""
