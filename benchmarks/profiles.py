"""Where the time of real models goes before and after graphopt, by kind of work, as `graphopt profile` sees it; and the page about it.

`python -m benchmarks.profiles FOLDER --inputs FOLDER` profiles each model as it is, at O2 and at O3. `--page FILE` only writes the tables
of a page again, from this record and that of `benchmarks.latency`.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

import graphopt
from benchmarks.measure import ROOT, save_record
from graphopt.runtime.profiling import Profile

__all__ = ["PAGE", "TABLES", "main", "profile_model", "written"]

RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "explanation" / "where-time-goes.md"
FORMS = ("original", "O2", "O3")
SHOWN = 3
PEERS = ("onnxruntime", "onnxscript", "onnxslim", "onnxsim", "onnxoptimizer")
_BLOCK = re.compile(r"<!-- table: (\w+) -->\n.*?<!-- end -->", re.DOTALL)


def profile_model(source: Path, inputs: Path | None, *, seconds: float) -> dict[str, Any]:
    """Return what a profile says of a model and of what graphopt makes of it, by form.

    Args:
        source: the model.
        inputs: folder of NAME.npz; drawn without one.
        seconds: for the runs of each form.
    """
    given = None if inputs is None else inputs / f"{source.stem}.npz"
    feeds = given if given is not None and given.exists() else None
    found: dict[str, Any] = {"model": source.stem}
    with tempfile.TemporaryDirectory() as folder:
        for form in FORMS:
            path = source
            if form != "original":
                path = Path(folder) / f"{form}.onnx"
                graphopt.optimize(source, level=form, check=False).save(path)
            profiled: Profile = graphopt.profile(path, inputs=feeds, seconds=seconds, advise=form == "original")
            found[form] = {
                "milliseconds": profiled.kernel_seconds * 1e3,
                "moving": profiled.layout_share,
                "kinds": {group.name: group.share for group in profiled.by_pattern},
                "rules": {
                    group.name: [advice.rule for advice in group.advice[:SHOWN]] for group in profiled.by_pattern
                },
            }
    return found


def _kinds(form: Mapping[str, Any]) -> str:
    ranked = sorted(form["kinds"].items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {share:.0%}" for name, share in ranked[:SHOWN])


def _profiles(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "| model | where its time goes | moves data: as it is | at O2 | at O3 | time in kernels at O3 |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        moving = " | ".join(f"{row[form]['moving']:.0%}" for form in FORMS)
        left = row["O3"]["milliseconds"] / row["original"]["milliseconds"]
        lines.append(f"| `{row['model']}` | {_kinds(row['original'])} | {moving} | {left:.0%} |")
    return "\n".join(lines)


def _speeds(found: Mapping[str, Any]) -> str:
    rows = found["rows"]
    speeds: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        value = 1.0 if row["speed"] is None else row["speed"]
        speeds.setdefault(row["model"], {}).setdefault(row["tool"], []).append(value)
    means = {
        model: {tool: statistics.geometric_mean(each) for tool, each in tools.items()}
        for model, tools in speeds.items()
    }
    lines = ["| model | O2 | O3 | best peer | original again |", "|---|---|---|---|---|"]
    for model, tools in sorted(means.items(), key=lambda item: -max(item[1]["graphopt O2"], item[1]["graphopt O3"])):
        peer = max((tool for tool in PEERS if tool in tools), key=lambda tool: tools[tool], default="")
        best = f"{tools[peer]:.2f} {peer}" if peer else ""
        own = " | ".join(f"{tools[tool]:.2f}" for tool in ("graphopt O2", "graphopt O3"))
        lines.append(f"| `{model}` | {own} | {best} | {tools['original again']:.2f} |")
    total = {tool: found["summary"][tool]["geometric_mean"] for tool in found["summary"]}
    peer = max((tool for tool in PEERS if tool in total), key=lambda tool: total[tool], default="")
    best = f"{total[peer]:.2f} {peer}" if peer else ""
    own = " | ".join(f"{total[tool]:.2f}" for tool in ("graphopt O2", "graphopt O3"))
    lines.append(f"| geometric mean | {own} | {best} | {total['original again']:.2f} |")
    return "\n".join(lines)


#: What makes a table of a record, by the name of both.
TABLES: Mapping[str, Callable[[Any], str]] = {"profiles": _profiles, "latency": _speeds}


def written(text: str, folder: Path = RESULTS) -> str:
    """Return a page with its tables as the records have them.

    Args:
        text: the page; `<!-- table: NAME -->` up to `<!-- end -->` is replaced.
        folder: of the records.
    """

    def table(block: re.Match[str]) -> str:
        record = json.loads((folder / f"{block[1]}.json").read_text(encoding="utf-8"))
        return f"<!-- table: {block[1]} -->\n\n{TABLES[block[1]](record['results'])}\n\n<!-- end -->"

    return _BLOCK.sub(table, text)


def main(argv: Sequence[str] | None = None) -> int:
    """Profile models and store the record, or write the tables of a page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profiles", description=__doc__)
    parser.add_argument("models", type=Path, nargs="*", help="folders of .onnx files, or files")
    parser.add_argument("--inputs", type=Path, help="folder of NAME.npz; drawn without it")
    parser.add_argument("--seconds", type=float, default=2.0, help="for the runs of one form of a model (default: 2)")
    parser.add_argument("--json", type=Path, help="where the record goes (default: benchmarks/out/profiles.json)")
    parser.add_argument("--page", type=Path, nargs="?", const=PAGE, help="write the tables of a page from the records")
    options = parser.parse_args(argv)
    if options.page is not None:
        options.page.write_text(written(options.page.read_text(encoding="utf-8")), encoding="utf-8")
        return 0
    sources = [path for item in options.models for path in (sorted(item.glob("*.onnx")) if item.is_dir() else [item])]
    if not sources:
        parser.error("no models: name a folder of .onnx files, or files")
    console, rows = Console(), []
    for source in track(sources, "models", transient=True):
        try:
            rows.append(profile_model(source, options.inputs, seconds=options.seconds))
        except graphopt.GraphoptError as err:
            console.print(f"{source.name}: left out: {err}")
    console.print(_profiles(rows), markup=False)
    console.print(f"record: {save_record('profiles', rows, settings={'seconds': options.seconds}, path=options.json)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
