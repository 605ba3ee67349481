"""``graphopt.prune``: channels, weights or patterns taken away, by an amount, a budget of accuracy or a plan."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from graphopt.compiler.pruning.request import Importance, PruneRequest, Scope, amount_of
from graphopt.compiler.pruning.result import Pruned
from graphopt.compiler.pruning.work import Work
from graphopt.compiler.quantizing.labels import read_labels
from graphopt.compiler.quantizing.metrics import CustomMetric
from graphopt.passes import PruningPlan
from graphopt.plugin_manager import PluginManager

__all__ = ["prune"]


def prune(
    source: object,
    data: object = None,
    *,
    channels: str | Mapping[str, float] | None = None,
    magnitude: float | str | None = None,
    n_m: str | None = None,
    plan: PruningPlan | str | os.PathLike[str] | None = None,
    target: str = "onnxruntime",
    importance: Importance = "auto",
    scope: Scope = "global",
    labels: object = None,
    metric: str | CustomMetric | None = None,
    max_accuracy_drop: str | float | None = None,
    min_sqnr: float | None = None,
    sensitivity: bool = False,
    ratios: Sequence[float] | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    round_to: int | None = None,
    min_channels: int = 1,
    recover: bool = True,
    prepare: str | None = None,
    options: Mapping[str, Mapping[str, object]] | None = None,
    batch: int | None = None,
    limit: int | None = None,
    check: bool = True,
    seconds: float = 30.0,
    threads: int = 1,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
    plugins: PluginManager | None = None,
) -> Pruned:
    """Take away what a model needs least, and let what is left make up for it.

    State one of ``channels``, ``magnitude``, ``n_m`` and ``plan``, or a budget of accuracy alone: then channels go, each layer as many as
    it can spare. With a budget a stated amount is where the search ends: no more than that goes. A quarter of the data is held out to
    judge on; importance and recovery look at the rest.

    Args:
        source: path, bytes, ``onnx.ModelProto``, IR (which is copied), what ``optimize``, ``quantize`` or ``prune`` gave, or what a
            plugin's frontend accepts.
        data: as :func:`graphopt.quantize` takes it; without data nothing is recovered, and weights alone say what matters.
        channels: channels, heads and hidden units go: ``"flops=0.5"`` (or ``{"flops": 0.5}``) leaves half of the operations at most,
            ``"latency=0.7"`` so much of the time, measured in the runtime, ``"ratio=0.3"`` takes that part of each group; ``"auto"`` with
            a budget or a sweep.
        magnitude: the part of the weights that become zero, in [0, 1), those of smallest magnitude; ``"auto"`` as for channels.
        n_m: ``"2:4"`` keeps 2 of each 4 neighbours.
        plan: what another pruning decided, or the path of it as :meth:`Pruned.save_plan` writes it.
        target: name of a target.
        importance: criterion for channels: ``l1``, ``l2``, ``bn-scale``, with data ``activation-energy`` and ``reconstruction``.
            ``"auto"`` is ``activation-energy`` with data, else ``l2``.
        scope: which weights ``magnitude`` compares: of a ``tensor``, of all layers of a kind (``layer-type``), or all (``global``).
        labels: what is right for each example: array, or path of an ``.npy`` or ``.npz`` file.
        metric: name, ``module:callable`` or function; ``top1`` by default with labels, else ``sqnr``.
        max_accuracy_drop: how much worse the metric may become, in points of one in percent: ``1.0`` or ``"1%"``.
        min_sqnr: dB that the outputs must reach, instead of a drop.
        sensitivity: whether each layer or group is pruned alone, to see what it loses; alone, nothing else is done.
        ratios: parts that this takes away; a quarter, a half and three quarters of channels, more of weights.
        include: weights or nodes to prune, all if empty: names, patterns, ``op:Conv``.
        exclude: those to leave alone.
        round_to: multiples in which channels are left; ``None`` for what kernels of the target take at a time, 16 for ONNX Runtime on x64,
            or 8 where that leaves no choice.
        min_channels: that are left in each group at least.
        recover: whether layers are fitted to what they gave before, where there is data.
        prepare: pipeline that the model goes through first; that of the plan, else ``O2,separate-constants``.
        options: options of passes, by pass and option; they go before all others.
        batch: examples in a batch, where whole arrays are cut.
        limit: how many examples are used.
        check: whether the result is checked: interface, types, that it runs, zeros and patterns; its accuracy is reported.
        seconds: for measuring and for sensitivity, about. Data is looked at besides.
        threads: within an operator when measuring.
        seed: of random numbers.
        progress: told what is going on, in a few words.
        plugins: where passes, frontends and backends come from.

    Returns:
        The model with its report and the plan of what went; nothing is written yet.

    Raises:
        PruningError: if nothing can be pruned, an amount makes no sense, a plan is of another model, or a budget can't be met.
        CalibrationError: if data or labels do not fit the model, or a metric is unknown.
        ModelError: if the model is broken.
        PipelineError: if a target, pipeline or option is unknown.
        ExecutionError: if the model can't be run.
        VerificationError: if the result does not have the interface of the original, does not run, or is not what it says.

    Example:
        >>> from graphopt.data import digits_model, digits_test
        >>> images, digits = digits_test()
        >>> result = prune(digits_model(), {"image": images}, channels="ratio=0.25", labels=digits, seconds=1)
        >>> result.report.flops_left < 0.8, result.report.metric_after["top1"] > 95
        (True, True)
    """
    request = PruneRequest(
        amount=amount_of(
            channels,
            magnitude,
            n_m,
            plan,
            without=max_accuracy_drop is not None or min_sqnr is not None or sensitivity,
        ),
        target=target,
        plan=plan,
        importance=importance,
        scope=scope,
        metric=metric,
        max_accuracy_drop=max_accuracy_drop,
        min_sqnr=min_sqnr,
        sensitivity=sensitivity,
        ratios=ratios,
        include=include,
        exclude=exclude,
        round_to=round_to,
        min_channels=min_channels,
        recover=recover,
        prepare=prepare,
        options=dict(options or {}),
        check=check,
        seconds=seconds,
        threads=threads,
        seed=seed,
    )
    request.check_arguments(has_data=data is not None, has_labels=labels is not None)
    with Work(source, request, progress or (lambda text: None), plugins) as work:
        return work.run(data, None if labels is None else read_labels(labels), batch, limit)
