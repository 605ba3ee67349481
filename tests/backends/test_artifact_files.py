"""Artifacts in memory and in files are written whole."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from graphopt.backends.artifact_files import save_artifact
from graphopt.backends.base import Artifact
from graphopt.data import digits_model


def _made(kind: str, folder: Path) -> tuple[Artifact, bytes]:
    content = Path(digits_model()).read_bytes()
    if kind == "data":
        return Artifact("made", data=content), content
    if kind == "path":
        source = folder / "made"
        source.write_bytes(content)
        return Artifact("made", path=source), content
    proto = onnx.load(digits_model())
    return Artifact("onnx", proto=proto), proto.SerializeToString()


@pytest.mark.parametrize("kind", ["data", "path", "proto"])
def test_each_form_is_written(kind, tmp_path):
    artifact, content = _made(kind, tmp_path)
    path = tmp_path / "out"
    assert save_artifact(artifact, path, force=False) == [path]
    assert path.read_bytes() == content
