"""Models in the reference evaluator of the ``onnx`` package: slow, written to be read, and in agreement with the specification.

Operators of plugins run through the numpy kernels that the plugins bring.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import onnx
import onnx.inliner
from google.protobuf.message import DecodeError
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from graphopt.errors import ExecutionError, GraphoptError
from graphopt.runtime.base import Datum, Feeds, LoadedModel, Outputs, ValueSpec, check_feeds
from graphopt.serde import type_from_proto

__all__ = ["Kernels", "ReferenceRunner"]

logger = logging.getLogger(__name__)

#: Kernels by operator, ``"domain::Name"``: arrays in (``None`` where absent), attributes as keywords, an array or a tuple of them out.
Kernels = Mapping[str, Callable[..., object]]


class ReferenceRunner(LoadedModel):
    """A model in the reference evaluator.

    Args:
        model: path, serialized bytes, or message.
        kernels: by operator, for those that the evaluator does not know.

    Raises:
        ExecutionError: if the evaluator does not take the model.

    Example:
        >>> from onnx.parser import parse_model
        >>> model = parse_model('<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y) { y = Neg(x) }')
        >>> with ReferenceRunner(model) as runner:
        ...     runner.run({"x": np.array([1, 2], np.float32)})["y"].tolist()
        [-1.0, -2.0]
    """

    def __init__(self, model: str | os.PathLike[str] | bytes | ModelProto, *, kernels: Kernels | None = None) -> None:
        proto = _read(model)
        if kernels and proto.functions:  # the evaluator does not hand kernels on to functions
            proto = _inlined(proto)
        given = {item.name for item in proto.graph.initializer}
        given |= {item.values.name for item in proto.graph.sparse_initializer}
        try:
            specs = [ValueSpec(item.name, type_from_proto(item.type, item.name)) for item in proto.graph.input]
            self._outputs = tuple(
                ValueSpec(item.name, type_from_proto(item.type, item.name)) for item in proto.graph.output
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._evaluator: ReferenceEvaluator | None = ReferenceEvaluator(
                    proto, new_ops=[_op_class(op, kernel) for op, kernel in (kernels or {}).items()]
                )
        except GraphoptError:
            raise
        except Exception as err:  # the evaluator raises whatever its many kernels raise
            raise ExecutionError(f"the reference evaluator does not take the model: {_one_line(err)}") from err
        self._inputs = tuple(spec for spec in specs if spec.name not in given)
        self._overridable = tuple(spec for spec in specs if spec.name in given and proto.ir_version >= 4)

    def run(self, feeds: Feeds) -> Outputs:
        """Outputs by name.

        Raises:
            ExecutionError: if a kernel fails, or ``feeds`` are not what the model takes.
        """
        evaluator = self._evaluator
        if evaluator is None:
            raise ExecutionError("the runner is closed; make a new one")
        check_feeds(self, feeds)
        names = [spec.name for spec in self._outputs]
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                found = evaluator.run(names, dict(feeds))
        except Exception as err:  # as above
            raise ExecutionError(f"the reference evaluator failed: {_one_line(err)}") from err
        return {name: _datum(value) for name, value in zip(names, cast("Sequence[object]", found), strict=True)}

    def close(self) -> None:
        """Release the model."""
        self._evaluator = None


def _inlined(proto: ModelProto) -> ModelProto:
    """The model with functions in place of their calls, and with the domains that they import."""
    found: ModelProto = onnx.inliner.inline_local_functions(proto)
    known = {item.domain for item in found.opset_import}
    for item in [item for function in proto.functions for item in function.opset_import]:
        if item.domain not in known:
            known.add(item.domain)
            found.opset_import.append(item)
    return found


def _read(model: str | os.PathLike[str] | bytes | ModelProto) -> ModelProto:
    try:
        if isinstance(model, ModelProto):
            return model
        return onnx.load_from_string(model) if isinstance(model, bytes) else onnx.load(os.fspath(model))
    except (OSError, DecodeError, ValueError, onnx.checker.ValidationError) as err:
        raise ExecutionError(f"the reference evaluator cannot read the model: {_one_line(err)}") from err


def _datum(value: object) -> Datum:
    if value is None or isinstance(value, dict):
        return value
    if isinstance(value, list | tuple):
        return [_datum(item) for item in value]
    return np.asarray(value)


def _op_class(op: str, kernel: Callable[..., object]) -> type[OpRun]:
    domain, _, name = op.rpartition("::")

    def run(self: OpRun, *inputs: object, **attributes: object) -> tuple[object, ...]:
        found = kernel(*inputs, **attributes)
        return found if isinstance(found, tuple) else (found,)

    # Without a schema of its own the evaluator would take that of an ONNX operator of the same name.
    members: dict[str, Any] = {"op_domain": domain, "op_schema": _schema(domain, name), "_run": run}
    return type(name, (OpRun,), members)


def _schema(domain: str, name: str) -> onnx.defs.OpSchema | None:
    try:
        return onnx.defs.get_schema(name, domain)
    except onnx.defs.SchemaError:
        return None


def _one_line(err: BaseException) -> str:
    return f"{type(err).__name__}: {' '.join(str(err).split())}"[:500]
