"""The report of a pruning, put together of what was made: layers before and after, sizes, and what this kind of sparsity buys here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from graphopt.compiler.pruning.amounts import Amount
from graphopt.compiler.pruning.counting import compressed_size, flops_of_node
from graphopt.compiler.pruning.layer_errors import layer_errors, outputs_of_layers
from graphopt.compiler.pruning.result import PrunedLayer, PruneReport
from graphopt.compiler.pruning.trials import Trial, Trials
from graphopt.compiler.quantizing.workshop import Made
from graphopt.ir import Constant, Model, Node
from graphopt.runtime.base import Feeds
from graphopt.transforms.pruning.magnitude import prunable_weights
from graphopt.transforms.pruning.patterns import n_m_layers

__all__ = ["fill_files", "gains_of", "kept_text", "layers_of"]

#: Time left above operations left from which on people should know why.
_UNEVEN: Final = 0.2
#: Part of zeros from which on float32 takes less room as a sparse initializer.
_SPARSE: Final = 2 / 3
_PASSES: Final = ("prune-channels", "prune-magnitude", "prune-n-m", "apply-pruning-plan")


def kept_text(trial: Trial) -> str:
    """What went, counted by the passes that took it.

    Example:
        >>> from graphopt.passes import PassRecord, Pipeline
        >>> passes = (PassRecord("prune-channels", stats={"groups": 4, "indices": 96, "weights": 9}),)
        >>> kept_text(Trial("t", Pipeline(()), passes=passes))
        '96 indices of 4 groups'
    """
    counts: dict[str, int] = {}
    for record in trial.passes:
        if record.name in _PASSES:
            for name, count in record.stats.items():
                counts[name] = counts.get(name, 0) + count
    parts = []
    if counts.get("indices"):
        groups = counts["groups"]
        parts.append(f"{counts['indices']:,} indices of {groups:,} group{'s' if groups != 1 else ''}")
    elif counts.get("axes"):
        parts.append(f"indices of {counts['axes']:,} axes of weights")
    if counts.get("zeroed"):
        where = counts.get("tensors", counts.get("masked", 0))
        parts.append(f"{counts['zeroed']:,} weights of {where:,} tensors")
    return ", ".join(parts) or "nothing"


def _files_of(made: Made) -> list[Path]:
    """A model's file and what lies beside it."""
    path = Path(made.path)
    return sorted(path.parent.glob(f"{path.name}*"))


def layers_of(
    trials: Trials, pruned: Trial, result: Trial, feeds: Feeds | None, *, batched: bool
) -> tuple[PrunedLayer, ...]:
    """What became of each layer.

    Args:
        trials: know the prepared model.
        pruned: the model before it was recovered.
        result: the model afterwards, the same one if nothing recovers.
        feeds: held-out examples to compare outputs on, ``None`` to do without.
        batched: whether these can be cut along the first axis.
    """
    rows = list(_layers(trials.model))
    sized = trials.sized(trials.model)
    outputs = {_name(node): node.outputs[0].name for node, _weight, _constant in rows}
    environment = trials.workshop.environment
    pruned_db: Mapping[str, float] = {}
    recovered_db: Mapping[str, float] = {}
    if feeds is not None and outputs:
        given, few = outputs_of_layers(environment, trials.model, outputs, feeds, sized, batched=batched)
        pruned_db = layer_errors(environment, pruned, outputs, given, few)
        recovered_db = pruned_db if result is pruned else layer_errors(environment, result, outputs, given, few)
    assert result.model is not None, "what failed is not reported"
    after = {value.name: constant for value, constant in prunable_weights(result.model.graph)}
    whole, left_nodes = (
        {node.outputs[0].name: node for node in graph.walk()}
        for graph in (sized.graph, trials.sized(result.model).graph)
    )
    found = []
    for node, weight, constant in rows:
        name = _name(node)
        left = after.get(weight)
        cost = flops_of_node(whole.get(outputs[name]))
        found.append(
            PrunedLayer(
                name,
                node.op,
                weight,
                cost / trials.whole.flops if trials.whole.flops else 0.0,
                tuple(constant.shape),
                () if left is None else tuple(left.shape),
                flops_of_node(left_nodes.get(outputs[name])) / cost if cost else 1.0,
                0.0 if left is None else 1 - int(np.count_nonzero(left.numpy())) / left.size,
                pruned_db.get(name),
                recovered_db.get(name),
            )
        )
    return tuple(found)


def _layers(model: Model) -> Iterator[tuple[Node, str, Constant]]:
    """Nodes of the main graph that read weights, with the first weight of each."""
    weights = dict(prunable_weights(model.graph))
    for node in model.graph.nodes:
        value = next((value for value in node.inputs if value is not None and value in weights), None)
        if value is not None:
            yield node, value.name, weights[value]


def _name(node: Node) -> str:
    return node.name or node.outputs[0].name


def fill_files(report: PruneReport, before: Made, after: Made) -> None:
    """Say in a report how large the files are, and how large compressed."""
    report.file_before, report.file_after = before.size, after.size
    report.packed_before = compressed_size(_files_of(before))
    report.packed_after = report.packed_before if after is before else compressed_size(_files_of(after))


def gains_of(report: PruneReport, amount: Amount, model: Model) -> list[str]:
    """What this kind of sparsity buys in the runtime that measured it, in lines for people.

    Args:
        report: with sizes and, where somebody measured, latency.
        amount: what went.
        model: the result.
    """
    lines: list[str] = []
    part = None if report.speedup is None else 1 / report.speedup
    time = "" if part is None else f"{part:.0%} of the time in ONNX Runtime, measured in turns"
    size, before = report.size_after, report.size_before
    if size is None or before is None:
        return lines
    if size.weights < before.weights or report.flops_left < 1:
        left = (
            f"{report.flops_left:.0%} of the operations"
            if before.flops
            else f"{size.weights / before.weights:.0%} of the weights"
        )
        lines.append(f"channels are gone: {left} are left{time and f', and {time}'}")
        if before.flops and part is not None and part > report.flops_left + _UNEVEN:
            lines.append(
                "time did not go with operations: small layers take time however little they do, and ONNX Runtime's blocked kernels want "
                "channels in multiples of 16 where the processor has AVX-512 (--round-to 16), of 8 elsewhere"
            )
    if amount.kind == "channels" or size.zeros <= before.zeros:
        return lines
    measured = f" ({time})" if time and report.flops_left == 1 else ""
    lines.append(
        f"{size.sparsity:.0%} of the weights are zero: ONNX Runtime multiplies by zeros as by all numbers, so they bring no time "
        f"there{measured}"
    )
    if report.packed_before:
        lines.append(
            f"zeros take as much room as other numbers in the file; compressed (gzip) it has "
            f"{report.packed_after / report.packed_before:.0%} of what it had"
            + (
                ", and store-weights makes it smaller for targets that read sparse initializers"
                if size.sparsity > _SPARSE
                else ""
            )
        )
    n, m = amount.n, amount.m
    layers = [follows for _node, follows in n_m_layers(model.graph, n, m)]
    if amount.kind == "n-m" and layers:
        who = (
            "TensorRT skips the zeros on GPUs with sparse tensor cores"
            if (n, m) == (2, 4)
            else "no runtime that is known here skips them: TensorRT does for 2:4 only"
        )
        lines.append(f"{sum(layers)} of {len(layers)} layers that sum over {m} channels or more follow {n}:{m}; {who}")
    return lines
