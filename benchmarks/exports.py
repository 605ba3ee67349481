"""From architectures to ONNX files as both of torch's exporters write them, for the benchmarks that take a folder of models.

`python -m benchmarks.exports FOLDER` writes NAME_EXPORTER+OPSET.onnx and inputs NAME....npz. The environment needs what
`benchmarks.architectures` names and nothing of graphopt. Weights are random; an export that fails is listed with its reason.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.architectures import ARCHITECTURES, Built

__all__ = ["export", "main"]

#: Opsets that each exporter is asked for, one architecture after the other.
OPSETS = {"script": (11, 12, 13, 14, 15, 16, 17), "dynamo": (18, 20, 21, 23)}


def _as_positional(built: Built) -> Any:  # noqa: ANN401  torch has types, this environment may not have torch
    """A module that takes its inputs by position and gives its first two tensors."""
    torch: Any = importlib.import_module("torch")

    class Positional(torch.nn.Module):  # type: ignore[misc]  # the base is only known when torch is there
        def __init__(self) -> None:
            super().__init__()
            self.inner = built.module

        def forward(self, *values: Any) -> Any:  # noqa: ANN401  tensors
            if len(values) == 1 and next(iter(built.inputs)) == "x":
                return self.inner(*values)
            found = self.inner(**dict(zip(built.inputs, values, strict=True)))
            tensors = tuple(item for item in found.to_tuple() if torch.is_tensor(item))
            return tensors[:2]

    return Positional().eval()


def export(name: str, exporter: str, opset: int, folder: Path, *, eager: bool) -> Path:
    """Write one model and inputs for it.

    Args:
        name: of the architecture.
        exporter: `"script"` or `"dynamo"`.
        opset: that is asked for; the newer exporter may choose another.
        folder: where both files go.
        eager: whether attention is spelt out rather than one operator of torch's.
    """
    torch: Any = importlib.import_module("torch")
    torch.manual_seed(0)
    built = ARCHITECTURES[name]()
    if eager and hasattr(built.module, "set_attn_implementation"):
        built.module.set_attn_implementation("eager")
    path = folder / f"{name}_{exporter}{opset}{'_eager' if eager else ''}.onnx"
    module, values, names = _as_positional(built), tuple(built.inputs.values()), list(built.inputs)
    if exporter == "script":
        torch.onnx.export(
            module, values, path, input_names=names, dynamic_axes=built.dynamic, opset_version=opset, dynamo=False
        )
    else:
        shapes = tuple(dict.fromkeys(built.dynamic[item], torch.export.Dim.DYNAMIC) for item in names)
        torch.onnx.export(
            module, values, path, input_names=names, dynamic_shapes=(shapes,), opset_version=opset, dynamo=True,
            external_data=False, verbose=False,
        )  # fmt: skip
    np.savez(path.with_suffix(".npz"), **{item: value.numpy() for item, value in built.inputs.items()})
    return path


def main(argv: Sequence[str] | None = None) -> int:
    """Export each architecture with each exporter, and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exports", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the models go")
    parser.add_argument("--only", nargs="+", choices=sorted(ARCHITECTURES), metavar="NAME", help="these architectures")
    options = parser.parse_args(argv)
    options.folder.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    failed = 0
    for number, name in enumerate(options.only or ARCHITECTURES):
        for exporter, opsets in OPSETS.items():
            opset = opsets[number % len(opsets)]
            try:
                said = str(export(name, exporter, opset, options.folder, eager=exporter == "script"))
            except Exception as err:  # noqa: BLE001  what an exporter can't do is a result
                failed += 1
                said = f"{name}, {exporter}, opset {opset}: {type(err).__name__}: {' '.join(str(err).split())[:160]}"
            sys.stdout.write(f"{said}\n")
    return 1 if failed == 2 * len(options.only or ARCHITECTURES) else 0


if __name__ == "__main__":
    raise SystemExit(main())
