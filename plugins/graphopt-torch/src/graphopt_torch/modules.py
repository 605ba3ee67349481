"""Live modules: their arrays, their masks, and how they become smaller. The only part that needs torch."""

import numpy as np

from graphopt.errors import PruningError
from graphopt_torch.plans import kept_of_parameters

__all__ = ["apply_masks", "remove_masks", "shrink", "state_of"]


def state_of(module):
    """The parameters and buffers of a module, or of what its ``state_dict`` gave, as arrays by name.

    A tensor that has several names is there once, under the first of them.
    """
    state = module.state_dict() if hasattr(module, "state_dict") else module
    found, seen = {}, set()
    for name, tensor in state.items():
        place = (tensor.data_ptr(), tuple(tensor.shape), tensor.dtype) if tensor.numel() else name
        if place not in seen:
            seen.add(place)
            found[name] = _array(tensor)
    return found


def _array(tensor):
    plain = tensor.detach().cpu()
    if str(plain.dtype) != "torch.bfloat16":
        return plain.numpy().copy()
    import ml_dtypes  # lazily: numpy has no such type, and few modules do
    import torch

    return plain.view(torch.int16).numpy().view(ml_dtypes.bfloat16).copy()


def apply_masks(module, masks):
    """Keep elements of parameters zero while they are trained, by ``torch.nn.utils.prune``.

    Args:
        module: its parameters are masked; buffers, such as the statistics of a BatchNormalization, can't be and are passed over.
        masks: from :func:`graphopt_torch.masks_of_parameters`.

    Returns:
        The names of the parameters that are masked now.

    Raises:
        PruningError: if the module lacks one of them; nothing is masked then.
    """
    import torch
    from torch.nn.utils import prune

    parameters = dict(module.named_parameters())
    strange = next(
        (name for name in masks if name not in parameters and name not in dict(module.named_buffers())), None
    )
    if strange is not None:
        raise PruningError(f"the module has no parameter {strange!r} to mask; is it masked already, or another module?")
    done = []
    for name, mask in masks.items():
        if name in parameters:
            owner, _, leaf = name.rpartition(".")
            where = parameters[name].device
            prune.custom_from_mask(module.get_submodule(owner), leaf, torch.as_tensor(mask, device=where))
            done.append(name)
    return done


def remove_masks(module):
    """Make what is masked plain parameters again, with the zeros in them."""
    from torch.nn.utils import prune

    for part in module.modules():
        for name in [
            key.removesuffix("_mask") for key, _ in part.named_buffers(recurse=False) if key.endswith("_mask")
        ]:
            prune.remove(part, name)


def shrink(module, plan, names):
    """Cut a module to what a plan leaves of it, in place; its forward must not state sizes itself.

    Args:
        module: that the model was exported from; convolutions, linear layers, normalizations, embeddings and PReLU know their sizes after.
        plan: a :class:`graphopt.passes.PruningPlan`.
        names: from :func:`graphopt_torch.match_weights`, made with this plan.

    Returns:
        The module.

    Raises:
        PruningError: if a parameter belongs to a layer of another kind, or has another size than the plan says; nothing is changed then.
    """
    import torch

    cuts = {}
    tensors = module.state_dict(keep_vars=True)
    for name, kept in kept_of_parameters(plan, names).items():
        if name not in tensors:
            raise PruningError(
                f"the module has no parameter {name!r}; give the module that the model was exported from"
            )
        tensor = tensors[name]
        for axis, mask in kept.items():
            if tensor.ndim <= axis or tensor.shape[axis] != mask.size:
                raise PruningError(
                    f"parameter {name!r} has shape {list(tensor.shape)}, and the plan keeps some of {mask.size}"
                )
        for other in [same for same, item in tensors.items() if item is tensor]:  # tied ones go together
            owner, _, leaf = other.rpartition(".")
            cuts.setdefault(module.get_submodule(owner), {})[leaf] = kept
    sizes = {part: _sizes(torch.nn, part, kept) for part, kept in cuts.items()}
    made = {}
    for part, leaves in cuts.items():
        for leaf, kept in leaves.items():
            tensor = getattr(part, leaf)
            if tensor not in made:
                made[tensor] = _smaller(torch, tensor, kept)
            setattr(part, leaf, made[tensor])
        for attribute, size in sizes[part].items():
            setattr(part, attribute, size)
    return module


def _smaller(torch, tensor, kept):
    """What is left of a parameter or a buffer, of the same kind."""
    found = tensor.detach()
    for axis, mask in kept.items():
        found = found.index_select(axis, torch.as_tensor(np.flatnonzero(mask), device=tensor.device))
    found = found.contiguous().clone()
    return torch.nn.Parameter(found, tensor.requires_grad) if isinstance(tensor, torch.nn.Parameter) else found


def _sizes(nn, part, kept):
    """The attributes of a layer that say how large it is, as they become."""
    weight = kept.get("weight", {})
    left = {axis: int(mask.sum()) for axis, mask in weight.items()}
    convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    transposed = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    if isinstance(part, convolutions + transposed):
        many, few = ("out_channels", "in_channels")[:: -1 if isinstance(part, transposed) else 1]
        groups = _groups(part.groups, weight.get(0))
        each = left.get(1, part.weight.shape[1])
        return {many: left.get(0, part.weight.shape[0]), few: each * groups, "groups": groups}
    if isinstance(part, nn.Linear):
        return {"out_features": left.get(0, part.out_features), "in_features": left.get(1, part.in_features)}
    if isinstance(part, nn.Embedding):
        return {"num_embeddings": left.get(0, part.num_embeddings), "embedding_dim": left.get(1, part.embedding_dim)}
    vector = next((int(axes[0].sum()) for axes in kept.values() if 0 in axes), None)
    if isinstance(part, nn.modules.batchnorm._NormBase):
        return {"num_features": vector}
    if isinstance(part, nn.GroupNorm):
        return {"num_channels": vector, "num_groups": _groups(part.num_groups, weight.get(0))}
    if isinstance(part, nn.LayerNorm) and len(part.normalized_shape) == 1:
        return {"normalized_shape": (vector,)}
    if isinstance(part, nn.RNNBase):
        return _recurrent_sizes(part, kept)
    if isinstance(part, nn.PReLU):
        return {"num_parameters": vector}
    if type(part).forward is nn.Module.forward or not type(part).__module__.startswith("torch.nn"):
        return {}  # parameters of the user's own, which say their size themselves
    raise PruningError(
        f"{type(part).__name__} can't be cut to size; leave its groups out of the plan (without), or mask it"
    )


def _recurrent_sizes(part, kept):
    """The sizes of a recurrent layer: all its layers and directions have one."""
    inputs, hidden = set(), set()
    for name, _parameter in part.named_parameters(recurse=False):
        size = {axis: int(mask.sum()) for axis, mask in kept.get(name, {}).items()}
        if name == "weight_ih_l0" or name == "weight_ih_l0_reverse":
            inputs.add(size.get(1, part.input_size))
        if name.startswith("weight_hh"):
            hidden.add(size.get(1, part.hidden_size))
    if len(inputs) > 1 or len(hidden) > 1 or part.proj_size:
        raise PruningError(
            f"{type(part).__name__} has one size for all its layers, and the plan keeps {sorted(hidden)} units; leave it out"
        )
    return {"input_size": inputs.pop(), "hidden_size": hidden.pop()}


def _groups(groups, mask):
    """Groups that are left: those that kept something, or all if each lost as much."""
    if groups == 1 or mask is None:
        return groups
    counts = mask.reshape(groups, -1).sum(axis=1)
    if len(set(counts[counts > 0].tolist())) != 1:
        raise PruningError(
            f"a layer of {groups} groups would keep different numbers of channels in them; leave it out of the plan"
        )
    return int(np.count_nonzero(counts))
