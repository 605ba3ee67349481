"""Weights of a model as parameters by name, and parameters as weights: nothing is taken that does not fit, and nothing is left unsaid."""

from collections.abc import Mapping

import numpy as np

import graphopt
from graphopt.errors import ModelError
from graphopt.ir import Constant
from graphopt_torch.modules import state_of
from graphopt_torch.plans import kept_of_parameters
from graphopt_torch.weights import constants_of

__all__ = ["from_state_dict", "to_state_dict"]

_LISTED = 5


def to_state_dict(model, module, names, plan=None):
    """What the parameters of a module are in a model, pruned and recovered as it is.

    A folded BatchNormalization keeps its scale, shift and variance; its mean takes up what the bias has become, so the module computes in
    evaluation what the model computes. (In training it takes the means of its batches.)

    Args:
        model: what :func:`graphopt.lift` takes: the model that was pruned.
        module: the module that was exported, or its arrays by name.
        names: from :func:`graphopt_torch.match_weights`, with the plan if there is one.
        plan: of what was pruned; what no weight is, such as a folded BatchNormalization, is cut as it says.

    Returns:
        Arrays by name of the parameter, with all names that the module has.

    Raises:
        ModelError: if the model lacks a weight, or one is of another shape than the plan leaves.
    """
    lifted = graphopt.lift(model)
    weights = {name: constant.numpy() for name, (_value, constant) in constants_of(lifted).items()}
    before = module if isinstance(module, Mapping) else state_of(module)
    kept = {} if plan is None else kept_of_parameters(plan, names)
    state = {name: _cut(np.asarray(array), kept.get(name, {})) for name, array in before.items()}
    _expect([name for name in names.sources if name not in weights], "the model has no weight", "of the pruned model?")
    made, folded = {}, {}
    for name, source in names.sources.items():
        weight = weights[name]
        if source.is_bias:
            folded[source.norm.prefix] = (source, weight)
            continue
        if source.norm is not None:
            scale = source.norm.scale(state).reshape(-1, *[1] * (weight.ndim - 1))
            if len(scale) != len(weight):
                raise ModelError(
                    f"weight {name!r} has {len(weight)} outputs and {source.norm.prefix[:-1]!r} {len(scale)} channels; give the plan"
                )
            plain = weight / np.where(scale == 0, 1, scale)
            weight = np.where(scale == 0, state[source.parameter], plain).astype(weight.dtype)
        parts = (
            {source.parameter: source.arrangement.parameter(weight)} if source.stack is None else _split(source, weight)
        )
        for parameter, array in parts.items():
            if array.shape != state[parameter].shape:
                raise ModelError(
                    f"weight {name!r} is parameter {parameter!r} of shape {list(array.shape)}, expected "
                    f"{list(state[parameter].shape)}; give the plan of what was pruned"
                )
            if parameter in made and not np.array_equal(made[parameter], array):
                raise ModelError(
                    f"weight {name!r} is parameter {parameter!r}, as another weight is, and they differ now"
                )
            made[parameter] = array
    found = state | made
    for prefix, (source, bias) in folded.items():
        own = found[source.parameter] if source.parameter else 0.0
        mean = source.norm.mean_for(state, own, bias)
        found[prefix + "running_mean"] = mean.astype(state[prefix + "running_mean"].dtype)
    return {name: np.array(array) for name, array in found.items()}  # writable, and nobody else's


def from_state_dict(model, state, names):
    """A model with weights that were trained on.

    Args:
        model: what :func:`graphopt.lift` takes: the model that ``names`` is of, whole or pruned.
        state: arrays or tensors by name of the parameter, of all that are weights; what ``torch.nn.utils.prune`` masks is taken masked.
        names: from :func:`graphopt_torch.match_weights`.

    Returns:
        The IR of the model with these weights; its constants that are no parameter are as they were.

    Raises:
        ModelError: if parameters are missing or unknown, or of another shape or type than the weights.
    """
    tensors = {name: item for name, item in state.items() if hasattr(item, "data_ptr")}
    given = _unmasked({name: item for name, item in state.items() if name not in tensors} | state_of(tensors))
    wanted = {name for source in names.sources.values() for name in source.parameters}
    _expect([name for name in wanted if name not in given], "the parameters have no", "of the same module?")
    strange = [name for name in given if name not in wanted and name not in names.unused + names.counters]
    _expect(strange, "the model was exported without parameter", "leave it out, or match the names anew")
    lifted = graphopt.lift(model)
    constants = constants_of(lifted)
    _expect([name for name in names.sources if name not in constants], "the model has no weight", "of this model?")
    made = {name: _weight(name, source, given, constants[name][1]) for name, source in names.sources.items()}
    for name, array in made.items():
        value, _constant = constants[name]
        if value.producer is None:
            value.const = Constant(array)
        else:
            for stated in list(value.producer.attributes):
                value.producer.set_attribute(stated, None)
            value.producer.set_attribute("value", Constant(array))
    lifted.graph.touch()
    return lifted


def _split(source, weight):
    return dict(zip(source.stack.names, source.stack.parameters(weight), strict=True))


def _weight(name, source, given, constant):
    if source.stack is not None:
        parts = [given[parameter] for parameter in source.stack.names]
        if len({(part.dtype, part.shape) for part in parts}) > 1 or parts[0].dtype != constant.dtype.numpy:
            raise ModelError(
                f"the parameters of weight {name!r} ({', '.join(source.stack.names)}) differ in shape or type"
            )
        array = source.stack.weight(parts)
    elif source.is_bias:
        own = np.asarray(given[source.parameter], np.float64) if source.parameter else 0.0
        array = source.norm.folded_bias(given, own).astype(constant.dtype.numpy)
    else:
        array = given[source.parameter]
        if array.dtype != constant.dtype.numpy:
            raise ModelError(
                f"parameter {source.parameter!r} is of {array.dtype}, and weight {name!r} of {constant.dtype}; convert it before"
            )
        if array.ndim != source.arrangement.rank:
            raise ModelError(
                f"parameter {source.parameter!r} has shape {list(array.shape)}, another rank than weight {name!r}"
            )
        if source.norm is not None:
            scale = source.norm.scale(given)
            if len(scale) != len(array):
                raise ModelError(
                    f"parameter {source.parameter!r} has {len(array)} outputs and {source.norm.prefix[:-1]!r} {len(scale)} channels"
                )
            array = (array * scale.reshape(-1, *[1] * (array.ndim - 1))).astype(array.dtype)
        array = source.arrangement.weight(array)
    if array.shape != constant.shape:
        raise ModelError(
            f"parameter {source.parameters[0]!r} makes weight {name!r} of shape {list(array.shape)}, expected {list(constant.shape)}; is "
            "one of them pruned and the other not?"
        )
    return array


def _cut(array, kept):
    for axis, mask in kept.items():
        if array.ndim <= axis or array.shape[axis] != mask.size:
            raise ModelError(
                f"the plan keeps some of {mask.size} indices, and a parameter has shape {list(array.shape)}"
            )
        array = np.compress(mask, array, axis)
    return array


def _unmasked(state):
    """Parameters that are stored as ``name_orig`` and ``name_mask``, as their product."""
    found = dict(state)
    for name in state:
        stem = name.removesuffix("_orig")
        if stem != name and f"{stem}_mask" in state:
            found[stem] = (found.pop(name) * found.pop(f"{stem}_mask")).astype(state[name].dtype)
    return found


def _expect(names, what, advice):
    if names:
        listed = ", ".join(repr(name) for name in sorted(names)[:_LISTED])
        more = f" and {len(names) - _LISTED} others" if len(names) > _LISTED else ""
        raise ModelError(f"{what} {listed}{more}; {advice}")
