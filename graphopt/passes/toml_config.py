"""Pipelines as TOML files: passes or a level, options, target, check and inputs.

level = "O2"                      # or: passes = ["cse", "prune-magnitude"], or: pipeline = "cse,fixpoint(fuse-conv-bn)"
disable = ["fuse-pad"]
target = "onnxruntime"

[options.prune-magnitude]
sparsity = 0.5

[check]
rtol = 1e-3

[inputs]
dims = { batch = 4 }

[calibration]
data = "calibrate.npz"

[session]
threads = 2
"""

from __future__ import annotations

import re
import stat
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec

from graphopt.errors import PipelineError
from graphopt.passes.pipeline import Pipeline, parse_pipeline
from graphopt.passes.registry import PassRegistry, suggestion
from graphopt.passes.session_settings import SessionSettings

__all__ = ["CalibrationConfig", "CheckConfig", "InputConfig", "PipelineFile", "read_pipeline_file"]

_Tolerance = Annotated[float, msgspec.Meta(ge=0)]


@dataclass(frozen=True)
class CheckConfig:
    """How the result is compared with the original.

    Attributes:
        enabled: whether it is.
        rtol: tolerance in the place of what the passes declare.
        atol: the same, absolute.
        seed: of the generated inputs.
        samples: how many sets of inputs are generated, ``None`` for the default.
    """

    enabled: bool = True
    rtol: _Tolerance | None = None
    atol: _Tolerance | None = None
    seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    samples: Annotated[int, msgspec.Meta(ge=1)] | None = None


@dataclass(frozen=True)
class InputConfig:
    """What the model is checked and measured with.

    Attributes:
        file: ``.npz`` file with an array for each input, relative to the TOML file.
        shapes: by input, a size for each axis: a number, the name of a dimension, or a range such as ``"1..512"``.
        dims: by name of a dynamic dimension, a number or a range.
    """

    file: str | None = None
    shapes: dict[str, list[int | str]] = field(default_factory=dict)
    dims: dict[str, int | str] = field(default_factory=dict)


@dataclass(frozen=True)
class CalibrationConfig:
    """Data for passes that need some.

    Attributes:
        data: ``.npz`` or ``.npy`` file, or a folder of them, relative to the TOML file; or ``module:function``.
        table: ranges that ``graphopt calibrate`` has found, relative to the TOML file.
        calibrator: what finds ranges.
        options: of the calibrator.
        batch: examples in a batch.
        limit: how many examples are used.
    """

    data: str | None = None
    table: str | None = None
    calibrator: str = "auto"
    options: dict[str, Any] = field(default_factory=dict)
    batch: Annotated[int, msgspec.Meta(ge=1)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1)] | None = None


@dataclass(frozen=True)
class PipelineFile:
    """What a TOML file says; exactly one of ``level``, ``pipeline`` and ``passes``, or none.

    Attributes:
        level: name of a pipeline.
        pipeline: pipeline text.
        passes: members of a pipeline, each as text.
        disable: passes and rules to leave out.
        options: values by pass and option.
        target: name of a backend.
        opset: what the model is raised to.
        check: how the result is compared.
        inputs: what with.
        calibration: data for passes that need some.
        session: how ONNX Runtime is to run the result.
        path: the file.
    """

    level: str | None = None
    pipeline: str | None = None
    passes: list[str] | None = None
    disable: list[str] = field(default_factory=list)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    target: str | None = None
    opset: Annotated[int, msgspec.Meta(ge=1)] | None = None
    check: CheckConfig = field(default_factory=CheckConfig)
    inputs: InputConfig = field(default_factory=InputConfig)
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    session: SessionSettings = field(default_factory=SessionSettings)
    path: Path = field(default=Path(), repr=False)

    @property
    def text(self) -> str | None:
        """The pipeline as text without ``options``; ``None`` when the file states none."""
        if self.passes is not None:
            return ",\n".join(self.passes)
        return self.pipeline if self.pipeline is not None else self.level

    @property
    def inputs_path(self) -> Path | None:
        """The file with inputs, ``None`` when none is stated."""
        return None if self.inputs.file is None else self.path.parent / self.inputs.file

    @property
    def calibration_data(self) -> str | None:
        """Path of calibration data, or ``module:function``; ``None`` when none is stated."""
        data = self.calibration.data
        beside = None if data is None else self.path.parent / data
        return data if beside is None or (data is not None and ":" in data and not beside.exists()) else str(beside)

    @property
    def calibration_table(self) -> Path | None:
        """The file with ranges, ``None`` when none is stated."""
        return None if self.calibration.table is None else self.path.parent / self.calibration.table

    def build(self, registry: PassRegistry, default: str = "", *, rules: bool = False) -> Pipeline:
        """The pipeline with its options, without what it leaves out.

        Args:
            registry: the passes that there are.
            default: pipeline text to use when the file states none.
            rules: whether the caller leaves out the rules among ``disable``: a name that is no pass is an error otherwise.

        Raises:
            PipelineError: as :func:`parse_pipeline` and :meth:`Pipeline.with_options`, with the path.
        """
        text = default if self.text is None else self.text
        pipeline = parse_pipeline(text, registry, what=f"pipeline file {str(self.path)!r}, pipeline")
        try:
            for name in self.disable:
                if name not in registry and not rules:
                    raise PipelineError(f"disable: {registry.unknown(name)}")
            return pipeline.with_options(self.options).without(*self.disable)
        except PipelineError as err:
            raise PipelineError(f"pipeline file {str(self.path)!r}: {err}") from err


def read_pipeline_file(path: Path) -> PipelineFile:
    """What a TOML file says.

    Args:
        path: the file.

    Raises:
        PipelineError: if it can't be read, is no TOML, or says something that is not understood; one line, with the place.
    """
    where = f"pipeline file {str(path)!r}"
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe or a device may never end
            raise PipelineError(f"{where} is no regular file; give the path of a TOML file")
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise PipelineError(f"{where} can't be read: {err.strerror or err}; check the path") from err
    except UnicodeDecodeError as err:
        raise PipelineError(f"{where} is not UTF-8 text: {err.reason} at byte {err.start}") from err
    except tomllib.TOMLDecodeError as err:
        raise PipelineError(f"{where} is not TOML: {err}") from err
    _check_names(table, where)
    try:
        found = msgspec.convert(table | {"path": ""}, PipelineFile, dec_hook=lambda kind, value: path)
    except msgspec.ValidationError as err:
        raise PipelineError(f"{where}: {_place(str(err))}") from err
    stated = [name for name in ("level", "pipeline", "passes") if name in table]
    if len(stated) > 1:
        raise PipelineError(f"{where}: states {' and '.join(stated)}; state one of them")
    return found


_SECTIONS = {
    "": (
        "level",
        "pipeline",
        "passes",
        "disable",
        "options",
        "target",
        "opset",
        "check",
        "inputs",
        "calibration",
        "session",
    ),
    "calibration": tuple(CalibrationConfig.__dataclass_fields__),
    "check": tuple(CheckConfig.__dataclass_fields__),
    "inputs": tuple(InputConfig.__dataclass_fields__),
    "session": tuple(SessionSettings.__dataclass_fields__),
}


def _check_names(table: dict[str, Any], where: str) -> None:
    for section, known in _SECTIONS.items():
        inside = table.get(section, {}) if section else table
        if isinstance(inside, dict):
            for name in inside:
                if name not in known:
                    place = f"section [{section}]" if section else "the top level"
                    hint = suggestion(name, known) or ";"
                    raise PipelineError(f"{where}: {place} has no {name!r}{hint} it has: {', '.join(known)}")


_AT = re.compile(r" - at `\$\.?(.*)`$")


def _place(message: str) -> str:
    """What msgspec says, as ``check.rtol: expected float, got str``."""
    found = _AT.search(message)
    text = _AT.sub("", message)
    text = text[:1].lower() + text[1:].replace("`", "")
    return f"{found.group(1)}: {text}" if found else text
