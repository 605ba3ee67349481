"""TensorRT: networks built layer by layer, without its ONNX parser, for ``tensorrt`` 10 and 11 and ``tensorrt_rtx``."""
