"""Static quantization: activations with scales that are found beforehand, from calibration data."""

from __future__ import annotations

from graphopt.transforms.quantization.static.assign import AssignQuantization
from graphopt.transforms.quantization.static.clean import CleanQdq
from graphopt.transforms.quantization.static.decisions import PlacementDecision
from graphopt.transforms.quantization.static.dequantize import Dequantize
from graphopt.transforms.quantization.static.insert import InsertQdq
from graphopt.transforms.quantization.static.keep_floats import KeepFloatLayers
from graphopt.transforms.quantization.static.plan import StaticPlan, plan_static
from graphopt.transforms.quantization.static.qoperator import FuseIntegerProducts, QdqToQoperator

__all__ = [
    "AssignQuantization",
    "CleanQdq",
    "Dequantize",
    "FuseIntegerProducts",
    "InsertQdq",
    "KeepFloatLayers",
    "PlacementDecision",
    "QdqToQoperator",
    "StaticPlan",
    "plan_static",
]
