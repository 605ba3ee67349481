"""Models with a bit of everything, and small ones, for the tests of the IR."""

from __future__ import annotations

import numpy as np

from graphopt.ir import (
    Array,
    Attribute,
    AttributeKind,
    Constant,
    DType,
    GraphBuilder,
    Lineage,
    MapType,
    Model,
    OpaqueType,
    OptionalType,
    Quantization,
    SequenceType,
    SparseData,
    SparseTensorType,
    SymbolicDim,
    TensorType,
    dim_max,
)

ODD_NAMES = ("/a/b.c", "onnx::Conv_1", "42", 'quo"te', "new\nline", "ünïcode", "a b", "back\\slash", "\udc80")


def f32(numbers: object) -> Array:
    """A float32 array."""
    return np.array(numbers, np.float32)


def i64(numbers: object) -> Array:
    """An int64 array."""
    return np.array(numbers, np.int64)


def i8(numbers: object) -> Array:
    """An int8 array."""
    return np.array(numbers, np.int8)


def chain(length: int) -> Model:
    """One Relu after another."""
    b = GraphBuilder()
    value = b.input("x", DType.FLOAT, ["n"])
    for _ in range(length):
        value = b.Relu(value)
    b.output(value, "y")
    return b.build()


def nested_ifs(depth: int) -> Model:
    """An If in an If in an If ..., each of which captures values from all around it."""
    b = GraphBuilder()
    condition = b.input("c", DType.BOOL, [])
    x = b.input("x", DType.FLOAT, ["n"])
    outer = [b]
    for _ in range(depth):
        outer.append(outer[-1].subgraph())
    inner = outer.pop()
    inner.output(inner.Relu(x))
    while outer:
        around = outer.pop()
        other = around.subgraph("other")
        other.output(other.Neg(x))
        around.output(around.Add(around.If(condition, then_branch=inner, else_branch=other), x))
        inner = around
    return b.build()


def rich_model() -> Model:
    """Subgraphs with captured values, a function, all kinds of attributes and types, odd names, constants of every element type."""
    b = GraphBuilder(opset=17, name="everything", imports={"com.microsoft": 1, "ai.onnx.ml": 3})
    n = SymbolicDim("n")
    x = b.input("x", DType.FLOAT, ["n", 3, (n - 1) // 2 + 1, None])
    condition = b.input("c", DType.BOOL, [])
    default = b.input("with_default", DType.FLOAT, [2], default=f32([1, -0.0]))
    b.input("unknown_rank", DType.DOUBLE)
    b.input("odd_dims", DType.INT8, [SymbolicDim("a-b"), dim_max(n, 4) * n, SymbolicDim("min"), SymbolicDim("")])
    b.input("sequence", type=SequenceType(TensorType(DType.FLOAT, (None,))))
    b.input("optional", type=OptionalType(SequenceType(None)))
    b.input("map", type=MapType(DType.INT64, TensorType(DType.STRING, ())))
    b.input("sparse", type=SparseTensorType(TensorType(DType.FLOAT, (3, 4))))
    b.input("opaque", type=OpaqueType("some.domain", "Some Thing"))
    b.input("nothing")

    then = b.subgraph("then")
    then.output(then.Add(x, then.constant(np.ones(40, np.float32), "large")))
    other = b.subgraph("else")
    other.graph.doc, other.graph.metadata = "a branch", {"k": "v"}
    other.output(other.Mul(x, default))
    y = b.If(condition, then_branch=then, else_branch=other, name="choose")

    f = b.function(
        "my.domain", "Scale", ["a"], attributes=["alpha"], defaults={"beta": Attribute(AttributeKind.FLOAT, 2.0)}
    )
    f.output(f.LeakyRelu(f.graph.inputs[0], alpha=f.reference("alpha", AttributeKind.FLOAT)))
    function = b.model.functions["my.domain", "Scale", ""]
    function.doc, function.metadata = "scales", {"origin": "test"}
    z = b.op("my.domain::Scale", y, alpha=0.1, name="call")

    kept, mask = b.Dropout(z, None, b.constant(False), outputs=2)
    mask.name = ""
    b.node("some.domain::Everything", kept, *every_constant(b), outputs=0, **every_attribute(b))  # type: ignore[arg-type]  # none is an option of node
    for name in ODD_NAMES:
        z = b.Identity(z)
        z.name = name
        z.producer.name = name  # type: ignore[union-attr]  # made by a node
    z.type, z.doc, z.metadata, z.annotation = (
        TensorType(DType.FLOAT, (n, 3)),
        "inferred",
        {"a": "b"},
        {"SCALE_TENSOR": "s"},
    )
    z.lineage = Lineage(("before", "and before"))
    z.quantization = Quantization(DType.INT8, Constant(f32([0.1, 0.2])), Constant(i8([0, -1])), 1)
    node = b.node("Relu", z, name="last")
    node.doc, node.metadata, node.overload = "a\ndoc", {"pkg.torch.onnx": "#1"}, ""
    node.lineage = Lineage(("conv_1", "bn_1"))
    b.output(node.output, "result", DType.FLOAT, ["n", 3])
    b.output(x)
    model = b.build()
    model.producer_name, model.producer_version, model.domain, model.model_version = "tests", "1.0", "org", 7
    model.doc, model.metadata = "everything there is", {"license": "none", "empty": ""}
    model.graph.doc, model.graph.metadata = "the graph", {"g": "h"}
    return model


def every_constant(b: GraphBuilder) -> list[Constant]:
    """A small and a large constant of each element type, and a sparse one."""
    random = np.random.default_rng(0)
    found = []
    for dtype in DType:
        if dtype in (DType.UNDEFINED, DType.STRING):
            continue
        for size in (5, 40):
            codes = random.integers(
                0, 2 if dtype is DType.BOOL else 1 << min(dtype.bits, 8), (size, dtype.numpy.itemsize)
            )
            found.append(Constant(codes.astype(np.uint8).view(dtype.numpy).reshape(size)))
    found.append(Constant(np.array([["a", b"\xff"], ['"', ""]], object)))
    found.append(Constant(np.zeros((0, 3), np.float16)))
    found.append(Constant(SparseData(Constant(f32([1, 2])), Constant(i64([0, 5])), (4, 4))))
    return found


def every_attribute(b: GraphBuilder) -> dict[str, object]:
    """An attribute of each kind, with the values that are hard to keep."""
    inner = b.subgraph("inner")
    inner.output(inner.constant(1.0))
    nan = float(np.uint64(0x7FF8000000000001).view(np.float64))
    return {
        "float": 0.1,
        "double": Attribute(AttributeKind.FLOAT, 0.1),
        "floats": [0.0, -0.0, float("inf"), float("-inf"), float("nan"), 1e-45],
        "payload": Attribute(AttributeKind.FLOAT, nan),
        "int": -(2**63),
        "ints": [1, 2],
        "no_ints": Attribute(AttributeKind.INTS, ()),
        "string": 'a "quoted" string\n',
        "bytes": b'\x00\xff"\\',
        "strings": ["a", b"\xfe"],
        "no_strings": Attribute(AttributeKind.STRINGS, ()),
        "tensor": np.arange(3),
        "tensors": [Constant(np.float32(1)), Constant(np.ones(20, np.int8))],
        "graph": inner.graph,
        "graphs": Attribute(AttributeKind.GRAPHS, (b.subgraph("g1").graph, b.subgraph("").graph), doc="two empty ones"),
        "no_graphs": Attribute(AttributeKind.GRAPHS, ()),
        "type": TensorType(DType.FLOAT, (SymbolicDim("n"), None)),
        "types": Attribute(AttributeKind.TYPE_PROTOS, (SequenceType(TensorType(DType.INT4, ())),)),
        "sparse": Constant(SparseData(Constant(f32([1])), Constant(i64([[0, 1]])), (2, 2))),
        "documented": Attribute(AttributeKind.INT, 1, doc="says why"),
        "odd name": 3,
        "undefined": Attribute(AttributeKind.UNDEFINED, None),
    }
