"""What keeps the accuracy of quantized models: passes that make a model easier to quantize, or its errors smaller."""

from __future__ import annotations

from graphopt.transforms.quantization.accuracy.correct_biases import CorrectBiases
from graphopt.transforms.quantization.accuracy.equalize import EqualizeLayers
from graphopt.transforms.quantization.accuracy.gptq_weights import GptqWeights
from graphopt.transforms.quantization.accuracy.smooth import SmoothActivations

__all__ = ["CorrectBiases", "EqualizeLayers", "GptqWeights", "SmoothActivations"]
