"""What inference claims is what runs give: the cases of the ONNX suite with static and symbolic sizes, and generated models."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

from benchmarks.shape_claims import all_values, input_sizes, wrong_claims
from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.serde import lift_model
from graphopt.testing.strategies.bulk import sampled_models
from tests.onnx_suite import Case, load_cases

_LARGEST_CONSTANT = 64


def _variant(case: Case, naming: str) -> tuple[ModelProto, dict[str, np.ndarray]]:
    """A case with its small integer inputs as constants, and with names for the sizes of the others."""
    model = ModelProto()
    model.CopyFrom(case.model)
    model.ir_version = max(model.ir_version, 4)
    feeds = {name: item for name, item in case.data_sets[0].inputs.items() if isinstance(item, np.ndarray)}
    for info in list(model.graph.input):
        array = feeds.get(info.name)
        if array is None:
            continue
        if array.dtype.kind in "iu" and array.size <= _LARGEST_CONSTANT:
            model.graph.initializer.append(numpy_helper.from_array(array, info.name))
            model.graph.input.remove(info)
            del feeds[info.name]
            continue
        for axis, (dim, size) in enumerate(zip(info.type.tensor_type.shape.dim, array.shape, strict=False)):
            if naming == "each its own":
                dim.dim_param = f"{info.name}_{axis}"
            elif naming == "equal sizes alike":
                dim.dim_param = f"n{size}"
    return model, feeds


@pytest.mark.parametrize("naming", ["numbers", "each its own", "equal sizes alike"])
def test_no_claim_about_the_suite_is_wrong(naming):
    wrong: dict[str, list[str]] = {}
    for case in load_cases():
        model, feeds = _variant(case, naming)
        ir = lift_model(model)
        for node in ir.graph.walk():
            for value in node.outputs:  # what the file says of its outputs would be no finding
                value.type = None
        OnnxTypes().infer_model(ir)
        claims = {value.name: value.type for value in ir.graph.outputs}
        names = [info.name for info in case.model.graph.output]
        found = dict(zip(names, case.data_sets[0].outputs, strict=False))
        problems = wrong_claims(claims, found, input_sizes(ir.graph.inputs, feeds))
        if problems:
            wrong[case.name] = problems
    assert {} == wrong


def test_no_claim_about_generated_models_is_wrong(tmp_path):
    """Each model runs with several sizes of its dynamic dimensions, empty tensors among them."""
    wrong: list[str] = []
    runs = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for model in sampled_models(40, seed=12):
            ir = model.ir
            OnnxTypes().infer_model(ir)
            claims = {value.name: value.type for node in ir.graph.nodes for value in node.outputs if value.name}
            onnx.save(model.proto, tmp_path / "model.onnx")
            for feeds in model.feeds:
                found = all_values(tmp_path / "model.onnx", feeds)
                wrong += wrong_claims(claims, found, input_sizes(ir.graph.inputs, feeds))
                runs += 1
    assert [] == wrong
    assert runs > 80
