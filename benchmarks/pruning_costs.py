"""What a model costs, as `prune-channels` counts it: operations, dynamic axes all of one size, and how many weights are zero."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from graphopt.analysis.dim_groups import find_dim_groups
from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.ir import Model
from graphopt.serde import lift_model
from graphopt.transforms.pruning.budget import Costs

__all__ = ["flops_of_model", "sparsity_of"]


def flops_of_model(model: onnx.ModelProto | Model) -> float:
    """Return the operations of a model; nodes that nobody has a formula for count nothing."""
    owner = lift_model(model) if isinstance(model, onnx.ModelProto) else model
    OnnxTypes().infer_model(owner)
    return Costs(owner.graph, find_dim_groups(owner.graph), set()).total({})


def sparsity_of(path: Path) -> float:
    """Return the share of zeros among the elements of all weights with two axes or more."""
    proto = onnx.load(path)
    arrays = [numpy_helper.to_array(item) for item in proto.graph.initializer if len(item.dims) > 1]
    count = sum(array.size for array in arrays)
    return 1 - sum(int(np.count_nonzero(array)) for array in arrays) / max(count, 1)
