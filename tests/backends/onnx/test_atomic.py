"""Outputs are checked before the work, and appear whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from graphopt.backends.onnx.atomic import check_output, new_files
from graphopt.errors import OutputError


@pytest.mark.parametrize("force", [False, True])
def test_a_link_to_itself_is_refused(force: bool, tmp_path: Path) -> None:
    """It exists, although nothing can be read through it."""
    os.symlink("loop.onnx", tmp_path / "loop.onnx")
    with pytest.raises(OutputError, match="link that leads to itself"):
        check_output(tmp_path / "loop.onnx", force=force)


@pytest.mark.parametrize("name", ["a" * 250 + ".onnx", "é" * 120 + ".onnx"], ids=["ascii", "two-bytes"])
def test_a_name_may_be_as_long_as_the_system_allows(name: str, tmp_path: Path) -> None:
    """The temporary name beside it is not longer."""
    path = check_output(tmp_path / name, force=False)
    with new_files([path]) as (file,):
        file.write(b"new")
    assert [(name, b"new")] == [(found.name, found.read_bytes()) for found in tmp_path.iterdir()]


def test_a_full_disk_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of both files; nothing else is left."""
    paths = [tmp_path / "a.data", tmp_path / "a.onnx"]
    for path in paths:
        path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device; choose another path or make room"):
        _write(paths)
    assert {"a.data": b"old", "a.onnx": b"old"} == {found.name: found.read_bytes() for found in tmp_path.iterdir()}


def _write(paths: list[Path]) -> None:
    with new_files(paths) as files:
        for file in files:
            file.write(b"new")
