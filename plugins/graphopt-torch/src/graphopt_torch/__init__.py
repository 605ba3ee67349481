"""Pruned ONNX models to PyTorch for fine-tuning, and the weights back: by the names of the module's parameters.

Arrays are all that most of this needs; what touches a live module imports torch when it is called.
"""

from graphopt_torch.arrangement import Arrangement
from graphopt_torch.matching import match_weights
from graphopt_torch.modules import apply_masks, remove_masks, shrink, state_of
from graphopt_torch.names import Source, WeightNames
from graphopt_torch.plans import kept_of_parameters, masks_of_parameters
from graphopt_torch.states import from_state_dict, to_state_dict

__all__ = [
    "Arrangement",
    "Source",
    "WeightNames",
    "apply_masks",
    "from_state_dict",
    "kept_of_parameters",
    "masks_of_parameters",
    "match_weights",
    "remove_masks",
    "shrink",
    "state_of",
    "to_state_dict",
]
