from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper

from graphopt.ir import BytesInFile, Constant, DType, GraphBuilder, StoredData
from graphopt.passes import PassContext
from graphopt.transforms.deduplicate import DeduplicateConstants
from tests.transforms.whole_graph import optimize, parse

X = {"x": np.array([[-1.5, 0.0, 2.0]], np.float32)}
RUN = DeduplicateConstants()


def f32(items: object) -> npt.NDArray[np.float32]:
    return np.array(items, np.float32)


def with_constants(text: str, constants: dict[str, npt.NDArray[np.float32]]) -> onnx.ModelProto:
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend([numpy_helper.from_array(array, name) for name, array in constants.items()])
    return model


TWO = """
    <ir_version: 8, opset_import: ["": 17]>
    g (float[1, 3] x) => (float[1, 3] y) { a = Add (x, w)  y = Div (a, v) }"""


@pytest.mark.parametrize(
    ("w", "v", "count"),
    [
        (f32([1, 2, 3]), f32([1, 2, 3]), 1),
        (f32([1, 2, 3]), f32([1, 2, 4]), 0),
        (f32([0, 2, 3]), f32([-0.0, 2, 3]), 0),
        (f32([np.nan, 2, 3]), f32([np.nan, 2, 3]), 1),
        (f32([np.nan, 2, 3]), np.array([0x7FC00001, 0x40000000, 0x40400000], np.uint32).view(np.float32), 0),
        (f32([1]), f32([[1]]), 0),
        (f32([]).reshape(0, 3), f32([]).reshape(0, 3), 1),
    ],
)
def test_constants_are_merged_when_type_shape_and_bits_agree(w, v, count):
    model = with_constants(TWO, {"w": w, "v": v})
    if w.size == 0:
        model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 0
    found = optimize(model, RUN, X)
    assert count == found.result.stats.get("constants", 0)
    assert (["w"] if count else ["w", "v"]) == list(found.constants)


def test_strings_and_other_types_are_told_apart():
    model = parse("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x) => (float[1, 3] y, bool[1] p, bool[1] q)
        <string[1] s = {"ab"}, string[1] t = {"ab"}, string[1] u = {"a"}, int64[1] i = {0}, double[1] d = {0}> {
            y = Relu (x)  p0 = Concat <axis = 0> (s, t, u)  e = Shape (p0)
            di = Cast <to = 7> (d)
            p = Equal (e, i)  q = Equal (di, i)
        }""")
    assert {"constants": 1, "bytes": 2} == dict(optimize(model, RUN, X).result.stats)


def test_constants_with_a_promised_name_stay_and_serve():
    text = """
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x, float[3] d) => (float[1, 3] y, float[3] o) { a = Sum (x, w, d, v)  y = Relu (a) }"""
    same = f32([1, 2, 3])
    found = optimize(with_constants(text, {"w": same, "v": same, "d": same, "o": same}), RUN, X)
    assert ["d", "o"] == list(found.constants)
    assert {"constants": 2, "bytes": 24} == dict(found.result.stats)


def test_before_ir_version_4_constants_that_are_inputs_stay_and_serve():
    text = TWO.replace("float[1, 3] x)", "float[1, 3] x, float[3] v)").replace("ir_version: 8", "ir_version: 3")
    same = f32([1, 2, 3])
    found = optimize(with_constants(text.replace("17", "9"), {"w": same, "v": same}), RUN, X)
    assert ["x", "v"] == [value.name for value in found.model.graph.inputs]
    assert ["v"] == list(found.constants)


@pytest.mark.parametrize(("size", "count"), [(3, 0), (3000, 1)])
def test_a_large_constant_of_a_subgraph_gives_way_to_an_outer_one(size, count):
    text = f"""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, {size}] x, bool c) => (float[1, {size}] y) {{
            z = If (c) <
                then_branch = t () => (float[1, {size}] p) {{ p = Add (x, v) }},
                else_branch = e () => (float[1, {size}] q) {{ q = Neg (x) }}
            >
            y = Add (z, w)
        }}"""
    same = np.arange(size, dtype=np.float32)
    model = with_constants(text, {"w": same})
    model.graph.node[0].attribute[0].g.initializer.append(numpy_helper.from_array(same, "v"))
    found = optimize(model, RUN, {"x": same[None], "c": np.array(True)})
    assert count == found.result.stats.get("constants", 0)


def test_constants_of_functions_and_of_sibling_subgraphs_are_kept_apart():
    text = """
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x, bool c) => (float[1, 3] y) {
            y = If (c) <
                then_branch = t () => (float[1, 3] p) { p = Add (x, w) },
                else_branch = e () => (float[1, 3] q) { q = Mul (x, v) }
            >
        }"""
    model = onnx.parser.parse_model(text)
    for attribute, name in zip(model.graph.node[0].attribute, "wv", strict=True):
        attribute.g.initializer.append(numpy_helper.from_array(f32([1, 2, 3]), name))
    assert not optimize(model, RUN, X | {"c": np.array(True)}).result.changed


def test_weights_in_files_are_read_only_where_two_could_be_equal(tmp_path, monkeypatch):
    blocks = [np.full(1 << 14, value, np.uint8) for value in (1, 2, 1)]
    blocks[2][-1] = 7
    path = tmp_path / "weights"
    path.write_bytes(b"".join(block.tobytes() for block in blocks))
    b = GraphBuilder(opset=18)
    total = b.input("x", DType.UINT8, [1 << 14])
    for index in range(3):
        data = StoredData(BytesInFile(path), index << 14, 1 << 14, DType.UINT8, (1 << 14,))
        total = b.op("BitwiseXor", total, b.graph.add_constant(Constant(data), f"w{index}"))
    b.output(total, "y")
    model = b.build()
    names = {value.const: value.name for value in model.graph.initializers()}
    read: list[str] = []
    digest = Constant.digest

    def watched(constant: Constant) -> bytes:
        read.append(names[constant])
        return digest(constant)

    monkeypatch.setattr(Constant, "digest", watched)
    assert not RUN.run(model.graph, PassContext()).changed
    assert ["w0", "w2"] == read


def test_five_thousand_equal_constants_become_one():
    b = GraphBuilder(opset=17)
    total = b.input("x", DType.FLOAT, [3])
    for _ in range(5_000):
        total = b.op("Add", total, b.graph.add_constant(f32([1, 2, 3]), "w"))
    b.output(total, "y")
    model = b.build()
    assert {"constants": 4_999, "bytes": 12 * 4_999} == dict(RUN.run(model.graph, PassContext()).stats)
    assert 1 == len(model.graph.initializers())
