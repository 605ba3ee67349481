"""An ONNX file to OpenVINO's two files. Runs in a child process: OpenVINO's reader and compiler are native code.

Two operators are corrected on the way, where OpenVINO's own conversion has another meaning than ONNX:

* ``TopK`` gets its ``stable`` attribute, so that equal numbers stay in order, as ONNX says;
* ``NonMaxSuppression`` drops a box whose overlap *equals* the threshold, ONNX one whose overlap is larger: the threshold becomes the next
  larger number.
"""

from __future__ import annotations

import re

import numpy as np

from graphopt.errors import UnsupportedOpError
from graphopt_openvino.interface import KEY, Interface
from graphopt_openvino.silent import core, import_openvino
from graphopt_openvino.tensors import ELEMENTS

__all__ = ["SETTINGS", "convert", "explained"]

#: Numbers as the model states them: no half precision that nobody asked for.
SETTINGS = {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY", "ENABLE_CPU_PINNING": False}
_LONGEST = 300
_NOISE = re.compile(
    r"Exception from \S+|Check '.*?' failed at \S+|FrontEnd API failed with \w+:|Model wasn't fully converted\.|Summary:"
    r"|To facilitate the conversion.*|-- (?=Conversion|No conversion)"
)


def explained(err: Exception) -> str:
    """What OpenVINO says, without places in its source."""
    text = " ".join(_NOISE.sub(" ", str(err)).split()).strip(" :") or type(err).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def convert(source: str, xml: str, weights: str, text: str) -> None:
    """Write OpenVINO's files for an ONNX file.

    Args:
        source: the ONNX file.
        xml: where the graph goes.
        weights: where the weights go.
        text: the interface, without positions.

    Raises:
        UnsupportedOpError: if OpenVINO does not take the model.
    """
    ov = import_openvino()
    interface = Interface.from_text(text)
    try:
        model = core().read_model(source)
        model.validate_nodes_and_infer_types()
    except (RuntimeError, ValueError) as err:
        raise UnsupportedOpError(f"OpenVINO does not take the model: {explained(err)}") from err
    _correct(ov, model)
    positions = _positions(model, interface)
    _check_outputs(ov, model, interface)
    try:
        core().compile_model(model, "CPU", dict(SETTINGS))  # what the processor's plugin refuses is refused here
    except (RuntimeError, ValueError) as err:
        raise UnsupportedOpError(f"OpenVINO does not compile the model: {explained(err)}") from err
    model.set_rt_info(Interface(interface.inputs, interface.outputs, positions).to_text(), KEY)
    ov.serialize(model, xml, weights)


def _positions(model, interface: Interface) -> tuple[int | None, ...]:
    """For each input its place in OpenVINO's list, which lacks what nothing reads."""
    places = {name: index for index, port in enumerate(model.inputs) for name in port.get_names()}
    known = {spec.name for spec in interface.inputs}
    for port in model.inputs:
        if not known & set(port.get_names()):
            raise UnsupportedOpError(f"OpenVINO made an input {port.get_names()} that the model does not have")
    return tuple(places.get(spec.name) for spec in interface.inputs)


def _check_outputs(ov, model, interface: Interface) -> None:
    if len(model.outputs) != len(interface.outputs):
        raise UnsupportedOpError(
            f"OpenVINO made {len(model.outputs)} outputs of the {len(interface.outputs)} of the model"
        )
    for port, spec in zip(model.outputs, interface.outputs, strict=True):
        wanted = None if spec.tensor is None else ELEMENTS.get(spec.tensor.dtype)
        found = port.get_element_type().get_type_name()
        if wanted is not None and found != wanted:
            raise UnsupportedOpError(f"OpenVINO gives output {spec.name!r} as {found}, expected {wanted}")


def _correct(ov, model) -> None:
    for node in model.get_ops():
        kind = node.get_type_name()
        if kind == "TopK" and node.get_attributes().get("stable") is False and node.get_attributes()["sort"] != "none":
            node.set_attribute("stable", True)
        elif kind == "NonMaxSuppression" and len(node.inputs()) > 3:
            _raise_threshold(ov, node)
        elif kind in ("If", "Loop", "TensorIterator"):
            for body in _bodies(node):
                _correct(ov, body)


def _bodies(node) -> list:
    count = node.get_attributes().get("internal_subgraphs_size", 2 if node.get_type_name() == "If" else 1)
    found = []
    for index in range(int(count)):
        try:
            found.append(node.get_function(index) if node.get_type_name() == "If" else node.get_function())
        except (RuntimeError, AttributeError):
            break
    return found


def _raise_threshold(ov, node) -> None:
    threshold = node.input_value(3).get_node()
    while threshold.get_type_name() != "Constant" and threshold.inputs():
        threshold = threshold.input_value(0).get_node()  # through what only changes shape or type
    if threshold.get_type_name() != "Constant":
        raise UnsupportedOpError(
            "NonMaxSuppression has an iou_threshold that is no constant, which OpenVINO compares otherwise"
        )
    number = np.nextafter(np.float32(threshold.get_data().reshape(-1)[0]), np.float32(np.inf))
    node.input(3).replace_source_output(ov.op.Constant(np.array(number, np.float32)).output(0))
