"""Cases of the ONNX suite, lowered and evaluated: one of each operator here, all of them in benchmarks.tensorrt_suite."""

from __future__ import annotations

import copy
import functools

import numpy as np
import pytest
from onnx import numpy_helper

from graphopt.errors import UnsupportedOpError
from graphopt.testing.tensorrt import evaluate
from tests.backends.tensorrt.library import API, close, needs_library, network_of, outputs_of
from tests.onnx_suite import Case, load_cases

pytestmark = needs_library

#: Operators of one case each; what an operator needs at build time is frozen.
OPERATORS = (  # noqa: SIM905  a list would be a hundred lines
    "Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool BatchNormalization BitCast BitShift "
    "BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Celu Clip Concat ConstantOfShape Conv ConvInteger ConvTranspose "
    "Cos Cosh CumSum DepthToSpace DequantizeLinear Div Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp "
    "Expand Flatten Floor GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater "
    "GreaterOrEqual GridSample GroupNormalization HardSigmoid HardSwish Hardmax Identity If InstanceNormalization "
    "IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization "
    "LpPool MatMul MatMulInteger Max MaxPool Mean MeanVarianceNormalization Min Mish Mod Mul Neg NegativeLogLikelihoodLoss Not "
    "OneHot Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear "
    "RMSNormalization RNN Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp "
    "ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence "
    "Round Scan ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax "
    "SoftmaxCrossEntropyLoss Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tan Tanh "
    "ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Where Xor "
).split()
#: Small integers, and inputs of these operators from the second on, are given as constants.
FROZEN = (
    "BatchNormalization",
    "Clip",
    "DequantizeLinear",
    "GRU",
    "GroupNormalization",
    "LSTM",
    "Loop",
    "OneHot",
    "Pad",
    "QuantizeLinear",
    "RNN",
    "Resize",
)


def frozen(case):
    """A case's model and inputs, with what is a setting rather than data as constants."""
    model, given = copy.deepcopy(case.model), dict(case.data_sets[0].inputs)
    settings = model.graph.node[0].op_type in FROZEN
    for place, info in enumerate(list(model.graph.input)):
        array = given.get(info.name)
        if not isinstance(array, np.ndarray) or array.size > 1024 or len(model.graph.input) < 2:
            continue
        if (array.dtype.kind in "iu" and array.size <= 64) or (settings and place):
            model.graph.initializer.append(
                numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), info.name)
            )
            model.graph.input.remove(info)
            del given[info.name]
    return model, given


@functools.cache
def _cases():
    found: dict[str, list[Case]] = {}
    for case in load_cases():
        if case.data_sets and case.kind == "node" and len(case.model.graph.node) == 1:
            found.setdefault(case.model.graph.node[0].op_type, []).append(case)
    return found


@pytest.mark.parametrize("operator", OPERATORS)
def test_some_case_of_each_operator_is_right_and_none_is_wrong(operator):
    right = 0
    for case in _cases()[operator][:8]:
        model, feeds = frozen(case)
        try:
            built = network_of(model)
        except UnsupportedOpError:
            continue
        outputs = outputs_of(built, feeds)
        for info, wanted in zip(case.model.graph.output, case.data_sets[0].outputs, strict=True):
            half = isinstance(wanted, np.ndarray) and wanted.dtype.itemsize == 2
            assert close(outputs[info.name], wanted, rtol=2e-2 if half else 1e-3), case.name
        right += 1
    assert right, f"no case of {operator} was lowered"


#: Operators whose networks by NVIDIA's own parser are right; the evaluator must see that without knowing who made them.
BY_PARSER = (  # noqa: SIM905  a list would be a hundred lines
    "Abs Acos Add And ArgMax ArgMin Atan AveragePool Cast Ceil Celu Clip Concat ConstantOfShape Conv ConvTranspose Cos CumSum "
    "DepthToSpace Div Einsum Elu Equal Erf Exp Expand Flatten Floor GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool "
    "GlobalMaxPool Greater GridSample HardSigmoid HardSwish Hardmax If InstanceNormalization IsInf IsNaN LRN LSTM LeakyRelu Less Log "
    "LogSoftmax Loop LpNormalization MatMul Max MaxPool Mean Min Mod Mul Neg Not Or PRelu Pad Pow RNN ReduceL1 ReduceMax ReduceMean "
    "ReduceProd ReduceSum Relu Reshape Resize ReverseSequence Round Scan ScatterElements Selu Shape Sigmoid Sign Sin Slice "
    "Softmax Softplus Softsign Split Sqrt Squeeze Sub Tanh Tile TopK Transpose Unsqueeze Where Xor"
).split()
#: Cases in which the parser itself leaves ONNX: windows that begin in the padding, corners of a size that was rounded,
#: batches that come first.
DEVIATES = frozenset(
    {
        "test_averagepool_2d_ceil_last_window_starts_on_pad",
        "test_gru_batchwise",
        "test_lstm_batchwise",
        "test_resize_downsample_scales_cubic_align_corners",
        "test_simple_rnn_batchwise",
    }
)


def test_the_evaluator_is_right_about_networks_of_the_parser():
    """So that it can't drift to agree with the lowering."""
    right = set()
    for operator in BY_PARSER:
        for case in _cases()[operator][:2]:
            model, feeds = frozen(case)
            log = API.log()
            builder = API.builder(log)
            network = API.network(builder)
            if not API.module.OnnxParser(network, log.logger).parse(model.SerializeToString()):
                continue
            found = evaluate(API, network, feeds)
            pairs = zip(case.model.graph.output, case.data_sets[0].outputs, strict=True)
            same = all(close(found[info.name], wanted, rtol=1e-3) for info, wanted in pairs)
            assert same != (case.name in DEVIATES), case.name
            right.add(operator)
    assert len(right) >= 80, "the parser takes most of them"
