"""The backend: makes a model one that OpenVINO takes, and writes OpenVINO's files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graphopt.backends import Artifact, Target, beside, new_files, save_onnx
from graphopt.errors import ExecutionError, OutputError, UnsupportedOpError
from graphopt.ir import Model, Node
from graphopt.passes import PassContext
from graphopt.runtime import shared_worker
from graphopt_openvino.conversion import convert
from graphopt_openvino.interface import Interface, spec_of
from graphopt_openvino.support import reason_against, refuse_model

__all__ = ["OpenVinoBackend"]

_KIND = "openvino"
_SUFFIXES = [".xml", ".bin"]
_BLOCK = 1 << 20


class OpenVinoBackend:
    """OpenVINO on the processor: two files, ``.xml`` with the graph and ``.bin`` with the weights."""

    name = "openvino"
    target = Target("openvino")

    def legalize(self, model: Model, ctx: PassContext) -> str:
        """Standard operators, then those that OpenVINO lacks in terms of those that it has."""
        return "store-weights{form=dense},legalize-onnx,legalize-openvino"  # it reads no sparse initializers

    def supports(self, node: Node) -> str | None:
        """Why OpenVINO can't run a node, or would compute something else."""
        return reason_against(node)

    def emit(self, model: Model) -> Artifact:
        """Both files, in memory.

        Raises:
            UnsupportedOpError: if OpenVINO can't run a node, would compute something else, or does not take the model.
        """
        with _converted(model) as files:
            return Artifact(
                _KIND, files={suffix: path.read_bytes() for suffix, path in zip(_SUFFIXES, files, strict=True)}
            )

    def save(self, model: Model, path: Path, *, external_data: bool | None, force: bool) -> list[Path]:
        """Write both files, weights streamed.

        Raises:
            OutputError: if a file exists, can't be written, or the name does not end in ``.xml``.
            UnsupportedOpError: as :meth:`emit`.
        """
        if external_data is False:
            raise OutputError("OpenVINO's weights are always in a file beside the model; leave out --no-external-data")
        places = beside(path, _KIND, _SUFFIXES, force=force)
        with _converted(model) as made, new_files(list(reversed(places))) as files:
            for source, file in zip(reversed(made), files, strict=True):
                with source.open("rb") as content:
                    shutil.copyfileobj(content, file, _BLOCK)
        return [path, path.with_name(places[1].name)]


@contextmanager
def _converted(model: Model) -> Iterator[list[Path]]:
    """OpenVINO's files for a model, in a temporary folder. OpenVINO works in a child process: it is native code, which may crash."""
    refuse_model(model)
    with tempfile.TemporaryDirectory(prefix="graphopt-openvino-", ignore_cleanup_errors=True) as folder:
        source = Path(folder, "model.onnx")
        save_onnx(model, source, lineage=False)
        made = [Path(folder, f"model{suffix}") for suffix in _SUFFIXES]
        inputs = tuple(spec_of(value) for value in model.graph.inputs if not value.is_constant and value.const is None)
        text = Interface(inputs, tuple(spec_of(value) for value in model.graph.outputs)).to_text()
        try:
            shared_worker().call(convert, str(source), str(made[0]), str(made[1]), text)
        except ExecutionError as err:
            raise UnsupportedOpError(f"OpenVINO failed on the model: {err}") from err
        yield made
