"""A graphopt plugin for OpenVINO on the processor: a backend that emits its format, and the runtime that runs it."""

from graphopt import hookimpl
from graphopt.passes import Lazy

GRAPHOPT_API_VERSION = 2

_NEEDS = ("openvino",)
_INSTALL = "pip install openvino"


@hookimpl
def graphopt_backends():
    path = "graphopt_openvino.backend:OpenVinoBackend"
    return {"openvino": Lazy(path, requires=_NEEDS, install=_INSTALL, make=True)}


@hookimpl
def graphopt_runtimes():
    path = "graphopt_openvino.runtime:OpenVinoRuntime"
    return {"openvino": Lazy(path, requires=_NEEDS, install=_INSTALL, make=True)}


@hookimpl
def graphopt_passes():
    return {"legalize-openvino": Lazy("graphopt_openvino.legalize:LegalizeOpenVino")}
