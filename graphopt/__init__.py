"""graphopt: an optimizing compiler for ONNX models that anyone can extend."""
