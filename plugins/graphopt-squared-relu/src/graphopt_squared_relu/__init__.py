"""A graphopt plugin that brings an operator of its own: Relu(x) squared."""

from graphopt import hookimpl
from graphopt.passes import Lazy
from graphopt_squared_relu.operator import SQUARED_RELU

GRAPHOPT_API_VERSION = 1


@hookimpl
def graphopt_passes():
    return {"fuse-squared-relu": Lazy("graphopt_squared_relu.fusion:FuseSquaredRelu")}


@hookimpl
def graphopt_op_schemas():
    return [SQUARED_RELU]


@hookimpl
def graphopt_pipelines():
    return {"squared-relu": "O2,fuse-squared-relu"}
