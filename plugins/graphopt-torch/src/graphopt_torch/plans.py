"""What a pruning plan means for parameters: which indices are kept, and which elements stay in a module of the full size."""

import numpy as np

from graphopt.errors import PruningError

__all__ = ["kept_of_parameters", "masks_of_parameters"]


def kept_of_parameters(plan, names):
    """Which indices are left of the parameters.

    Args:
        plan: a :class:`graphopt.passes.PruningPlan`.
        names: from :func:`graphopt_torch.match_weights`, made with this plan.

    Returns:
        By parameter and axis, bool [size before]. A folded BatchNormalization goes with the outputs of its layer.

    Raises:
        PruningError: if a weight of the plan may be made of a parameter that is not known, or one parameter would lose different indices
            in two places.
    """
    found = {}
    for item in plan.axes:
        for name, axis in item.places():
            if name not in names.sources:
                _expect_own(name, names)
                continue
            for parameter, place, kept in names.sources[name].cuts(axis, item.kept):
                present = found.setdefault(parameter, {}).setdefault(place, kept)
                if not np.array_equal(present, kept):
                    raise PruningError(f"the plan keeps different indices of parameter {parameter!r} in two weights")
    return found


def _expect_own(name, names):
    """See that a weight that is no parameter is a constant of the model's own: then no parameter is left over.

    Raises:
        PruningError: if it is none of the model that names are of, or may well be made of a parameter.
    """
    if name not in names.unmatched:
        raise PruningError(f"the plan cuts {name!r}, which is no weight of floats of the model that names are of")
    if names.unused:
        left = ", ".join(repr(other) for other in names.unused[:3])
        raise PruningError(
            f"the plan cuts weight {name!r}, for which no parameter is known ({names.unmatched[name]}), and {left} may be what it is made "
            "of; prune a model that keeps weights as they are (--prepare O1), or leave the group out of the plan"
        )


def masks_of_parameters(plan, names, shapes, *, shrunk=False):
    """Which elements stay, of parameters that lose some.

    Args:
        plan: a :class:`graphopt.passes.PruningPlan`.
        names: from :func:`graphopt_torch.match_weights`, made with this plan.
        shapes: of the parameters before, by name.
        shrunk: whether the module was cut to size already: then only what is zero in what is left counts.

    Returns:
        By parameter, bool [its shape, before or after it was cut].
    """
    kept = kept_of_parameters(plan, names)
    zeros = {}
    for name, mask in plan.masks.items():
        source = names.sources.get(name)
        if source is None:
            _expect_own(name, names)
        elif source.stack is not None:
            zeros |= dict(zip(source.stack.names, source.stack.parameters(mask.array()), strict=True))
        elif not source.is_bias:
            zeros[source.parameter] = source.arrangement.parameter(mask.array())
    if shrunk:
        return zeros
    found = {}
    for parameter in {**kept, **zeros}:
        shape = tuple(shapes[parameter])
        left = [
            np.flatnonzero(kept.get(parameter, {}).get(axis, np.ones(size, bool))) for axis, size in enumerate(shape)
        ]
        mask = np.zeros(shape, bool)
        mask[np.ix_(*left)] = zeros.get(parameter, True)
        found[parameter] = mask
    return found
