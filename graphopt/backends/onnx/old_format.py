"""Keeps the inputs of models before IR version 4, where each initializer had to be listed as an input.

The list of inputs is what callers see, so it stays; but a rewrite leaves some of these initializers without a reader and brings new
constants, which can't be listed. A new constant therefore takes the place of a dead one of the same type, where there is one; other
dead ones stay while they are small. Exact.
"""

from __future__ import annotations

from collections import defaultdict

from graphopt.ir import Model, Value, replace_all_uses

__all__ = ["keep_old_inputs"]

_FIRST_IR_VERSION_WITH_FREE_INITIALIZERS = 4
#: Dead constants may stay up to this part of all constants, or these bytes.
_KEPT_PART = 0.005
_KEPT_BYTES = 4096


def keep_old_inputs(model: Model) -> bool:
    """Put new constants in the place of dead ones that are inputs, and drop dead ones that would make the file larger.

    Args:
        model: edited.

    Returns:
        Whether anything changed.
    """
    if model.ir_version >= _FIRST_IR_VERSION_WITH_FREE_INITIALIZERS:
        return False
    graph = model.graph
    dead: defaultdict[object, list[Value]] = defaultdict(list)
    for value in graph.initializers():
        if value.is_input and not value.is_used:
            dead[value.type].append(value)
    if not dead:
        return False
    changed = False
    for value in graph.initializers():
        if value.is_input or not value.use_count or value.is_graph_output or value.const is None:
            continue
        places = dead[value.const.type]
        if places:
            place = places.pop(0)
            place.const = value.const
            replace_all_uses(value, place)
            graph.remove_initializer(value)
            changed = True
    left = sorted((v for values in dead.values() for v in values), key=lambda v: v.const.nbytes if v.const else 0)
    room = max(_KEPT_BYTES, int(_KEPT_PART * model.constant_bytes))
    for value in left:
        assert value.const is not None, "an initializer has constant data"
        room -= value.const.nbytes
        if room < 0:
            graph.remove_initializer(value)
            graph.remove_input(value)
            changed = True
    return changed
