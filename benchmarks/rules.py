"""Which rule fires on which model, and what each makes of a small graph: the numbers and pictures of the page on rules.

`python -m benchmarks.rules FOLDER [FOLDER...]` optimizes each model of the folders at O2 and O3 in a child process, counts
applications by rule, and draws for each rule the smallest of a few generated models to which it applies, before and after.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.measure import save_record
from graphopt import optimize
from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.builtin_plugin import builtin_plugins
from graphopt.ir import Model, Node, Value, constant_of_node
from graphopt.passes import RewritePass
from graphopt.rewriting import Applications, Rule, RuleIndex, rewrite_graph
from graphopt.testing.strategies.bulk import sampled_matching
from tests.testing.handmade import HAND_MADE, made_by_hand

__all__ = ["applications", "builtin_rules", "main", "picture_of"]

LEVELS = ("O2", "O3")
_SAMPLES, _MOST_NODES, _MOST_NUMBERS = 8, 14, 4
#: What is made by hand has no smaller form.
_MOST_BY_HAND = 32


def builtin_rules() -> dict[str, Rule]:
    """The rules of all built-in passes, by name."""
    passes = builtin_plugins(discover=False).passes
    found: dict[str, Rule] = {}
    for name in passes:
        item = passes[name]
        if issubclass(item, RewritePass):
            found.update({rule.name: rule for rule in item().active_rules()})
    return found


def applications(path: Path, level: str) -> dict[str, int]:
    """How often each rule, or pass without rules, was applied to a model."""
    result = optimize(path, level=level, check=False)
    counts: Counter[str] = Counter()
    for record in result.report.passes:
        todo = [record]
        while todo:
            item = todo.pop()
            todo += item.children
            if item.changed and not item.is_group:
                counts.update(item.stats)
    return dict(counts)


def picture_of(rule: Rule) -> dict[str, object] | None:
    """The smallest of a few generated models to which a rule applies, and what the rule makes of it; `None` if all are large."""
    best: tuple[int, dict[str, object]] | None = None
    for generated in made_by_hand(rule, _SAMPLES) if rule.name in HAND_MADE else sampled_matching(rule, _SAMPLES):
        before = generated.ir
        size = sum(1 for _ in before.graph.walk())
        most = _MOST_BY_HAND if rule.name in HAND_MADE else _MOST_NODES
        if size > most or any(node.subgraphs for node in before.graph.walk()) or (best and size >= best[0]):
            continue
        types = OnnxTypes()
        types.infer_model(before)
        picture: dict[str, object] = {"before": _drawn(before)}
        if rewrite_graph(before.graph, RuleIndex((rule,)), inference=types, applications=Applications(limit=1)).changed:
            best = size, picture | {"after": _drawn(before)}
    return None if best is None else best[1]


def _drawn(model: Model) -> dict[str, object]:
    """Nodes, inputs and outputs of a graph, with what a reader wants to know of each."""
    graph = model.graph
    return {
        "inputs": {value.name: str(value.type or "") for value in graph.inputs if value.is_used},
        "outputs": [value.name for value in graph.outputs],
        "nodes": [_drawn_node(node) for node in graph.nodes if constant_of_node(node) is None],
    }


def _drawn_node(node: Node) -> dict[str, object]:
    attributes = {name: _brief(attribute.value) for name, attribute in node.attributes.items()}
    return {
        "op": node.op,
        "inputs": ["" if value is None else _operand(value) for value in node.inputs],
        "outputs": [value.name for value in node.outputs],
        "attributes": attributes,
    }


def _brief(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 24 else f"{text[:23]}…"


def _operand(value: Value) -> str:
    """The name of a value; of a constant its few numbers or its type, after an equals sign."""
    constant = value.const if value.is_constant else None
    if constant is None and value.producer is not None:
        constant = constant_of_node(value.producer)
    if constant is None:
        return value.name
    if constant.size <= _MOST_NUMBERS and constant.ndim <= 1:
        return f"={_brief(tuple(constant.numpy().reshape(-1).tolist()))}"
    return f"={constant.type}"


def main(argv: Sequence[str] | None = None) -> int:
    """Count and draw, print what fires where, write the record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rules", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="folders of .onnx models")
    parser.add_argument("--json", type=Path, help="where the record goes (default: benchmarks/out/rules.json)")
    parser.add_argument("--jobs", type=int, default=2, help="child processes (default: 2)")
    options = parser.parse_args(argv)
    models = sorted(path for folder in options.folders for path in folder.glob("*.onnx"))
    rules = builtin_rules()
    fires: dict[str, dict[str, dict[str, int]]] = {level: defaultdict(dict) for level in LEVELS}
    with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
        work = [(path, level) for path in models for level in LEVELS]
        found = pool.map(applications, *zip(*work, strict=True)) if work else iter(())
        for (path, level), counts in track(zip(work, found, strict=True), "models", total=len(work)):
            for name, count in counts.items():
                fires[level][name][path.stem] = count
        drawn = pool.map(_picture, rules)
        pictures = dict(track(zip(rules, drawn, strict=True), "pictures", total=len(rules)))
    record = {
        "models": [path.stem for path in models],
        "fires": {
            level: {name: counts for name, counts in found.items() if name in rules} for level, found in fires.items()
        },
        "pictures": {name: picture for name, picture in pictures.items() if picture is not None},
    }
    _show(record["fires"]["O3"], rules)  # type: ignore[index]  # plain JSON values
    Console().print(f"record: {save_record('rules', record, settings={'levels': LEVELS}, path=options.json)}")
    return 0


def _picture(name: str) -> dict[str, object] | None:
    return picture_of(builtin_rules()[name])


def _show(fires: Mapping[str, Mapping[str, int]], rules: Mapping[str, Rule]) -> None:
    table = Table("rule", "models", "applications", title="rules at O3, by how many models they fire on")
    for name in sorted(rules, key=lambda item: -len(fires.get(item, {}))):
        counts = fires.get(name, {})
        table.add_row(name, str(len(counts)), str(sum(counts.values())))
    Console().print(table)


if __name__ == "__main__":
    raise SystemExit(main())
