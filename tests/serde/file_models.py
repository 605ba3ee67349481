"""Models as a file may have them, with everything that must not be lost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper


def tensor_info(
    name: str, shape: Sequence[int | str | None] | None = (2,), dtype: int = TensorProto.FLOAT
) -> ValueInfoProto:
    """What a file says about a tensor."""
    return helper.make_tensor_value_info(name, dtype, shape)


def model_of(graph: GraphProto, *, opset: int = 17, ir_version: int = 10, **fields: object) -> ModelProto:
    """A model around a graph."""
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version, **fields)


def simple_model(
    nodes: Sequence[NodeProto], weights: Sequence[TensorProto] = (), *, ir_version: int = 10
) -> ModelProto:
    """A model with the input ``x`` and the output ``y``, both float[2]."""
    graph = helper.make_graph(list(nodes), "g", [tensor_info("x")], [tensor_info("y")], list(weights))
    return model_of(graph, ir_version=ir_version)


def weight(name: str, *, size: int = 2, dtype: type[np.generic] = np.float32) -> TensorProto:
    """An initializer 0, 1, 2, ..."""
    return numpy_helper.from_array(np.arange(size).astype(dtype), name)


def chain_model(count: int) -> ModelProto:
    """``count`` Identity nodes, one after the other."""
    nodes = [helper.make_node("Identity", [f"v{i}"], [f"v{i + 1}"], name=f"n{i}") for i in range(count)]
    graph = helper.make_graph(nodes, "g", [tensor_info("v0")], [tensor_info(f"v{count}")])
    return model_of(graph)


def nested_model(depth: int) -> ModelProto:
    """``depth`` If nodes inside each other; the innermost one captures ``x`` of the main graph."""
    model = model_of(
        helper.make_graph(
            [], "top", [tensor_info("x"), tensor_info("c", (), TensorProto.BOOL)], [tensor_info(f"y{depth}")]
        )
    )
    graph = model.graph
    for level in range(depth, 0, -1):
        node = graph.node.add(op_type="If", input=["c"], output=[f"y{level}"])
        then, other = node.attribute.add(), node.attribute.add()
        then.name, then.type = "then_branch", onnx.AttributeProto.GRAPH
        other.name, other.type = "else_branch", onnx.AttributeProto.GRAPH
        other.g.name = "else"
        other.g.node.add(op_type="Identity", input=["x"], output=[f"e{level}"])
        other.g.output.append(tensor_info(f"e{level}"))
        graph = then.g
        graph.name = f"then{level}"
        graph.output.append(tensor_info(f"y{level - 1}"))
    graph.node.add(op_type="Identity", input=["x"], output=["y0"])
    return model


def _branch(name: str, op: str) -> GraphProto:
    node = helper.make_node(op, ["h"], [name], name=f"{name}_node")
    graph = helper.make_graph([node], name, [], [tensor_info(name, None)], [weight(f"{name}_w")])
    graph.doc_string = f"doc of {name}"
    graph.metadata_props.add(key="branch", value=name)
    return graph


def rich_model() -> ModelProto:
    """A model that uses every place where a file can say something."""
    first = helper.make_node("Call", ["x", "", "w"], ["h", ""], name="call", domain="my.domain", alpha=0.5)
    first.overload = "v1"
    first.doc_string = "calls a function"
    first.metadata_props.add(key="k", value="v")
    first.metadata_props.add(key="k2", value="")
    shard = first.device_configurations.add(configuration_id="two-devices", pipeline_stage=1)
    shard.sharding_spec.add(tensor_name="w", device=[0, 1])
    unknown = helper.make_node("Mystery", ["h"], ["m"], domain="nobody.knows", blob=b"\xff\xfe", words=[b"a", b"\xff"])
    unknown.attribute.append(helper.make_attribute("t", numpy_helper.from_array(np.arange(3), "inner")))
    unknown.attribute[-1].doc_string = "doc of attribute"
    branch = helper.make_node("If", ["c"], ["y"], then_branch=_branch("a", "Relu"), else_branch=_branch("b", "Neg"))
    legacy = helper.make_node("Identity", ["m"], ["m2"], domain="ai.onnx")
    graph = helper.make_graph(
        [first, unknown, legacy, branch],
        "main",
        [tensor_info("x", ("batch", 3, None)), tensor_info("c", (), TensorProto.BOOL), tensor_info("w", (4,))],
        [tensor_info("y", None), tensor_info("m", ("batch*2",)), tensor_info("x", ("n", 3, 7))],
        [weight("w", size=4), weight("unused", size=20000, dtype=np.int64)],
        doc_string="doc of graph",
        value_info=[
            tensor_info("h", ("batch", 3)),
            tensor_info("nowhere"),
            tensor_info("unused", (20000,), TensorProto.INT64),
        ],
    )
    graph.input[0].type.denotation = "IMAGE"
    graph.input[0].type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    graph.input[0].doc_string = "doc of input"
    graph.value_info[0].metadata_props.add(key="vk", value="vv")
    graph.metadata_props.add(key="gk", value="gv")
    values, indices = weight("sparse", size=2), numpy_helper.from_array(np.array([1, 5]), "sparse_idx")
    graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [8]))
    graph.quantization_annotation.add(tensor_name="h").quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="w")
    body = helper.make_function(
        "my.domain",
        "Call",
        ["fx", "fo", "fw"],
        ["fy"],
        [helper.make_node("Mul", ["fx", "fw"], ["fm"]), helper.make_node("LeakyRelu", ["fm"], ["fy"])],
        [helper.make_opsetid("", 17)],
        ["gamma"],
        [helper.make_attribute("alpha", 0.25)],
    )
    reference = body.node[1].attribute.add(name="alpha", ref_attr_name="alpha", type=onnx.AttributeProto.FLOAT)
    reference.doc_string = "refers"
    body.overload, body.doc_string = "v1", "doc of function"
    body.value_info.append(tensor_info("fm", ("n",)))
    body.metadata_props.add(key="fk", value="fv")
    model = helper.make_model(graph, ir_version=11, functions=[body], producer_name="maker", producer_version="")
    del model.opset_import[:]
    for domain, version in (("ai.onnx", 17), ("my.domain", 3), ("nobody.knows", 1), ("unused.domain", 99), ("", 17)):
        model.opset_import.add(domain=domain, version=version)
    model.domain, model.model_version, model.doc_string = "org.example", 7, "doc of model"
    model.metadata_props.add(key="mk", value="mv")
    model.configuration.add(name="two-devices", num_devices=2, device=["cpu", "gpu"])
    return model
