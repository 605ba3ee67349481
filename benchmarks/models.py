"""Models made to measure: graphs that grow in one direction only, and weights of a chosen size.

Each generator returns a `ModelProto` that `onnx.checker` accepts and ONNX Runtime runs, the same on every machine; the
external-data model is written straight to disk, since it is larger than what a protobuf may be. Shapes keep a dynamic
batch, so nothing may be fixed to one size. `python -m benchmarks.models FOLDER` writes them all.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

__all__ = ["chain", "equal_initializers", "external_data", "heavy", "main", "nest", "wide"]

OPSET, IR_VERSION, WIDTH = 17, 8, 8
Array = npt.NDArray[Any]


def chain(nodes: int, *, shared_weight: bool = False, seed: int = 0) -> ModelProto:
    """Return a chain of exactly `nodes` nodes: blocks of nine, then Identity nodes up to the count.

    A block is MatMul, Add, Relu, then Shape, Gather, Unsqueeze, Concat, Reshape to the shape that the value has
    already, then Identity.

    Args:
        nodes: number of nodes of the graph, at least one.
        shared_weight: one 8x8 weight and one bias for all blocks instead of one of each per block.
        seed: of the weights.
    """
    rng = np.random.default_rng(seed)
    made: list[NodeProto] = []
    weights = [_tensor("zero", np.array(0, np.int64)), _tensor("axes", np.array([0], np.int64))]
    weights.append(_tensor("columns", np.array([WIDTH], np.int64)))
    value = "x"
    for block in range(nodes // 9):
        if block == 0 or not shared_weight:
            w, b = f"w{block}", f"b{block}"
            weights.append(_tensor(w, _weight(rng, WIDTH, WIDTH)))
            weights.append(_tensor(b, _weight(rng, WIDTH)))
        made += _block(str(block), value, w, b)
        value = made[-1].output[0]
    while len(made) < nodes:
        made.append(helper.make_node("Identity", [value], [f"pad{len(made)}"], f"Pad_{len(made)}"))
        value = made[-1].output[0]
    return _model("chain", made, weights, value)


def _block(suffix: str, x: str, w: str, b: str) -> list[NodeProto]:
    def node(op: str, inputs: Sequence[str], output: str) -> NodeProto:
        return helper.make_node(op, inputs, [f"{output}{suffix}"], f"{op}_{suffix}")

    concat = node("Concat", [f"u{suffix}", "columns"], "c")
    concat.attribute.append(helper.make_attribute("axis", 0))
    return [
        node("MatMul", [x, w], "m"),
        node("Add", [f"m{suffix}", b], "a"),
        node("Relu", [f"a{suffix}"], "r"),
        node("Shape", [f"r{suffix}"], "s"),
        node("Gather", [f"s{suffix}", "zero"], "g"),
        node("Unsqueeze", [f"g{suffix}", "axes"], "u"),
        concat,
        node("Reshape", [f"r{suffix}", f"c{suffix}"], "y"),
        node("Identity", [f"y{suffix}"], "i"),
    ]


def wide(users: int = 20_000, *, fan_in: int = 100) -> ModelProto:
    """Return a graph whose input has `users` users, every second one an Identity that hands the input on.

    Each user ends in an Add of a constant of its own, and Sum nodes of `fan_in` inputs bring all branches together.
    """
    made: list[NodeProto] = []
    weights: list[TensorProto] = []
    branches: list[str] = []
    for index in range(users):
        source = "x"
        if index % 2:
            made.append(helper.make_node("Identity", ["x"], [f"i{index}"], f"Identity_{index}"))
            source = f"i{index}"
        weights.append(_tensor(f"c{index}", np.array([index / users], np.float32)))
        made.append(helper.make_node("Add", [source, f"c{index}"], [f"a{index}"], f"Add_{index}"))
        branches.append(f"a{index}")
    while len(branches) > 1:
        groups = [branches[start : start + fan_in] for start in range(0, len(branches), fan_in)]
        branches = []
        for group in groups:
            name = f"sum{len(made)}"
            made.append(helper.make_node("Sum", group, [name], f"Sum_{len(made)}"))
            branches.append(name)
    return _model("wide", made, weights, branches[0])


def nest(depth: int = 200) -> ModelProto:
    """Return If nodes nested `depth` deep, each branch using values captured from the graph around it and from the top.

    Protobuf parsers refuse more than 100 nested messages, three of which make one level: a file holds 31 levels, deeper
    nests exist in memory only. So the graph is filled from the outside in: a message is never copied into another.
    """
    model = _model("nest", [], [], "m0")
    model.graph.input.append(helper.make_tensor_value_info("cond", TensorProto.BOOL, []))
    graph, up = model.graph, "x"
    for level in range(depth):
        graph.node.append(helper.make_node("Add", [up, "x"], [f"h{level}"], f"Add_{level}"))
        split = graph.node.add(op_type="If", name=f"If_{level}", input=["cond"], output=[f"t{level}"])
        graph.node.append(helper.make_node("Mul", [f"t{level}", f"h{level}"], [f"m{level}"], f"Mul_{level}"))
        up = f"h{level}"
        other = split.attribute.add(name="else_branch", type=onnx.AttributeProto.GRAPH).g
        _fill(other, f"else{level}", f"e{level}", [helper.make_node("Neg", [up], [f"e{level}"], f"Neg_{level}")])
        graph = split.attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH).g
        _fill(graph, f"then{level}", f"m{level + 1}" if level + 1 < depth else "leaf", [])
    graph.node.append(helper.make_node("Add", [up, "x"], ["leaf"], "Leaf"))
    return model


def _fill(graph: GraphProto, name: str, output: str, nodes: Sequence[NodeProto]) -> None:
    graph.name = name
    graph.node.extend(nodes)
    graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", WIDTH]))


def equal_initializers(count: int = 5_000) -> ModelProto:
    """Return a chain of Mul and Tanh nodes, each Mul with an initializer of its own name, all of the same content."""
    content = np.linspace(0.5, 1.5, WIDTH, dtype=np.float32)
    made: list[NodeProto] = []
    for i in range(count):
        made.append(helper.make_node("Mul", [f"t{i - 1}" if i else "x", f"w{i}"], [f"m{i}"], f"Mul_{i}"))
        made.append(helper.make_node("Tanh", [f"m{i}"], [f"t{i}"], f"Tanh_{i}"))
    weights = [_tensor(f"w{i}", content) for i in range(count)]
    return _model("equal_initializers", made, weights, made[-1].output[0])


def heavy(megabytes: int = 200, *, seed: int = 0) -> ModelProto:
    """Return layers of MatMul, Add and Relu whose weights take `megabytes` (of 10**6 bytes), 4 MB a layer."""
    rng = np.random.default_rng(seed)
    made: list[NodeProto] = []
    weights: list[TensorProto] = []
    value = "x"
    for layer in range(megabytes // 4):
        weights.append(_tensor(f"w{layer}", rng.standard_normal((1000, 1000), dtype=np.float32) / np.float32(31.6)))
        weights.append(_tensor(f"b{layer}", np.zeros(1000, np.float32)))
        made += _layer(layer, value)
        value = made[-1].output[0]
    return _model("heavy", made, weights, value, columns=1000)


def _layer(layer: int, x: str) -> list[NodeProto]:
    return [
        helper.make_node("MatMul", [x, f"w{layer}"], [f"m{layer}"], f"MatMul_{layer}"),
        helper.make_node("Add", [f"m{layer}", f"b{layer}"], [f"a{layer}"], f"Add_{layer}"),
        helper.make_node("Relu", [f"a{layer}"], [f"r{layer}"], f"Relu_{layer}"),
    ]


def external_data(path: Path, *, gigabytes: float = 3.0, side: int = 4096) -> Path:
    """Write a model whose weights lie in a sparse file beside it, never holding one of them; return its path.

    Each layer's weight is zero but for its first row, which differs from layer to layer, so that no two are equal.

    Args:
        path: of the `.onnx` file; the weights go to the same name with `.data` added.
        gigabytes: size of the weights in units of 10**9 bytes, rounded up to whole layers.
        side: rows and columns of one weight.
    """
    size = side * side * 4
    layers = -int(-gigabytes * 10**9 // size)
    made: list[NodeProto] = []
    weights: list[TensorProto] = []
    value = "x"
    with path.with_name(path.name + ".data").open("wb") as file:
        for layer in range(layers):
            file.seek(layer * size)
            file.write(np.full(side, 1 / (layer + 2), np.float32).tobytes())
            weights += [_external(f"w{layer}", side, path.name + ".data", layer * size, size)]
            weights += [_tensor(f"b{layer}", np.full(side, 0.25, np.float32))]
            made += _layer(layer, value)
            value = made[-1].output[0]
        file.truncate(layers * size)
    path.write_bytes(_model("external_data", made, weights, value, columns=side).SerializeToString())
    return path


def _external(name: str, side: int, location: str, offset: int, length: int) -> TensorProto:
    tensor = TensorProto(name=name, dims=[side, side], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def _weight(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape, dtype=np.float32) / np.float32(np.sqrt(WIDTH))


def _tensor(name: str, array: Array) -> TensorProto:
    return numpy_helper.from_array(array, name)


def _model(
    name: str, nodes: Sequence[NodeProto], weights: Sequence[TensorProto], output: str, *, columns: int = WIDTH
) -> ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", columns])
    y = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", columns])
    graph = helper.make_graph(nodes, name, [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the models that fit in a file into a folder."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args(argv).folder
    folder.mkdir(parents=True, exist_ok=True)
    makers: dict[str, Callable[[], ModelProto]] = {
        **{f"chain_{nodes}": partial(chain, nodes) for nodes in (1_000, 10_000, 50_000, 100_000)},
        "wide": wide,
        "nest_30": partial(nest, 30),
        "equal_initializers": equal_initializers,
        "heavy": heavy,
    }
    for name, make in makers.items():
        onnx.save(make(), folder / f"{name}.onnx")
        print(folder / f"{name}.onnx")
    print(external_data(folder / "external_data.onnx"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
