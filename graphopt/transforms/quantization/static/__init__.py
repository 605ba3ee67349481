"""Static quantization: activations with scales that are found beforehand, from calibration data."""

from __future__ import annotations

from graphopt.transforms.quantization.static.assign import AssignQuantization
from graphopt.transforms.quantization.static.decisions import PlacementDecision
from graphopt.transforms.quantization.static.insert import InsertQdq
from graphopt.transforms.quantization.static.plan import StaticPlan, plan_static

__all__ = ["AssignQuantization", "InsertQdq", "PlacementDecision", "StaticPlan", "plan_static"]
