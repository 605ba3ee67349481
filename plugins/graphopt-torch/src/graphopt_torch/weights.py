"""The weights of a model of graphopt's, by name."""

from graphopt.ir import constant_of_node
from graphopt.passes import weight_names

__all__ = ["constants_of", "weights_of"]


def constants_of(model):
    """Values that hold constants of floats and are no inputs, with the constants, by the names that plans use."""
    found = {}
    for value, name in weight_names(model.graph).items():
        constant = constant_of_node(value.producer) if value.producer is not None else value.const
        if constant is not None and constant.dtype.is_float and not value.is_input:
            found[name] = (value, constant)
    return found


def weights_of(model):
    """Arrays of floats by name."""
    return {name: constant.numpy() for name, (_value, constant) in constants_of(model).items()}
