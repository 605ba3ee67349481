"""Which nodes of a model a kernel of the runtime stands for.

A runtime fuses nodes and renames them, but the values between its kernels keep their names, or lend them to the kernel (``NAME_nchwc``). So
a kernel stands for the nodes on the way back from what it gives to what other kernels give. What the runtime put in by itself (reorders,
transpositions, casts) stands for nothing: it is there for the sake of its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from graphopt.ir import Model, Node, Value
from graphopt.runtime.profiling_ort import KernelNode

__all__ = ["match_kernels"]

_INSERTED: Final = ("ReorderInput", "ReorderOutput", "Memcpy")
_ENDINGS: Final = ("_nchwc", "_nhwc", "/MatMulAddFusion", "/MatmulTransposeFusion/", "_fused")
#: What a convolution takes in behind it.
_ABSORBED: Final = frozenset(
    {"HardSigmoid", "Sigmoid", "Mul", "Add", "Clip", "Div", "Relu", "HardSwish", "LeakyRelu", "Tanh"}
)


def _is_inserted(kernel: KernelNode) -> bool:
    return kernel.op.rpartition("::")[2].startswith(_INSERTED)


def match_kernels(
    kernels: Sequence[KernelNode], model: Model
) -> tuple[dict[str, tuple[Node, ...]], dict[str, tuple[Node, ...]]]:
    """Nodes of the model by the name of the kernel: those that it stands for, and those for whose sake the runtime put it in.

    Args:
        kernels: nodes of the graph that the runtime made.
        model: what it was given.
    """
    nodes = [node for owner in model.owners() for graph in owner.graph.walk_graphs() for node in graph.nodes]
    made = {value.name: value for node in nodes for value in node.outputs if value.name}
    named = {node.name: node for node in nodes if node.name}
    anchors = {kernel.name: _anchors(kernel, made, named) for kernel in kernels if not _is_inserted(kernel)}
    borders = {value for values in anchors.values() for value in values}
    found: dict[str, tuple[Node, ...]] = {}
    taken: set[Node] = set()
    for kernel in kernels:
        if kernel.activation and kernel.name in anchors:
            absorbed = _behind(anchors[kernel.name], borders)
            found[kernel.name] = tuple(absorbed)
            taken.update(absorbed)
    for name, values in anchors.items():
        before = _before(values, borders, taken)
        found[name] = tuple(dict.fromkeys((*before, *found.get(name, ()))))
    return found, _beside(kernels, found)


def _anchors(kernel: KernelNode, made: Mapping[str, Value], named: Mapping[str, Node]) -> tuple[Value, ...]:
    """Values of the model that a kernel gives."""
    values = [made[name] for name in kernel.outputs if name in made]
    if values:
        return tuple(values)
    names = [kernel.name, *(kernel.name.removesuffix(ending) for ending in _ENDINGS)]
    for name in names:
        if name in made:
            return (made[name],)
        if name in named:
            return tuple(named[name].outputs)
    return ()


def _behind(values: Iterable[Value], borders: set[Value]) -> list[Node]:
    """Activations behind values that no other kernel gives."""
    known, found, growing = set(values), list[Node](), True
    while growing:
        growing = False
        for value in list(known):
            for node in value.users:
                if node in found or node.op not in _ABSORBED or any(item in borders for item in node.outputs):
                    continue
                if all(item is None or item in known or item.is_constant for item in node.inputs):
                    found.append(node)
                    known.update(node.outputs)
                    growing = True
    return found


def _before(values: Iterable[Value], borders: set[Value], taken: set[Node]) -> list[Node]:
    """Nodes on the way back from values to what other kernels give."""
    found: dict[Node, None] = {}
    open_ = [value.producer for value in values if value.producer is not None]
    while open_:
        node = open_.pop()
        if node in found or node in taken:
            continue
        found[node] = None
        open_ += [
            value.producer
            for value in node.inputs
            if value is not None and value.producer is not None and value not in borders
        ]
    return [node for node in found if node.op != "Constant"]


def _beside(kernels: Sequence[KernelNode], found: Mapping[str, Sequence[Node]]) -> dict[str, tuple[Node, ...]]:
    """For what the runtime put in: the nodes on the side that needs it, which for a reorder is the one outside of the layout."""
    giving = {name: kernel for kernel in kernels for name in kernel.outputs}
    reading: dict[str, list[KernelNode]] = {}
    for kernel in kernels:
        for name in kernel.inputs:
            reading.setdefault(name, []).append(kernel)
    beside: dict[str, tuple[Node, ...]] = {}
    for kernel in kernels:
        if found.get(kernel.name):
            continue
        if kernel.op.endswith("ReorderInput"):
            others = [giving[name] for name in kernel.inputs if name in giving]
        else:
            others = [other for name in kernel.outputs for other in reading.get(name, ())]
        beside[kernel.name] = tuple(dict.fromkeys(node for other in others for node in found.get(other.name, ())))
    return beside
