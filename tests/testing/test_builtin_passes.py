"""Every pass and every rule that graphopt ships with keeps all laws, on models that are made up for it.

Rules get models to which they apply and others to which they nearly do; passes without rules get models of all kinds. The models are those
of fixed seeds, so that a failure is there again in the next run; ``python -m benchmarks.guards`` says what such models find.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import strategies as st
from onnx import ModelProto, helper

from graphopt.builtin_plugin import builtin_plugins
from graphopt.compiler import Environment
from graphopt.numerics import Lossy
from graphopt.passes import RewritePass
from graphopt.rewriting import Rule
from graphopt.testing import INLINING, NODE_ORDER, RENAMING, CheckReport, GeneratedModel, assert_honest, check_pass
from graphopt.testing.strategies.bulk import sampled_matching, sampled_models, sampled_near_misses
from tests.testing.handmade import HAND_MADE, made_by_hand

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
TARGET = "onnxruntime"
EACH = 12
SEED = 20
PASSES = builtin_plugins(discover=False).passes
RULES: dict[str, Rule] = {
    rule.name: rule
    for name in PASSES
    if issubclass(PASSES.find(name), RewritePass)
    for rule in PASSES.find(name)().active_rules()  # type: ignore[attr-defined]  # it is one of rules, as was asked
}
#: Rules for nodes that are not drawn, the rules that make such nodes, and pipelines of both.
THROUGH_PIPELINES = {
    "spell-out-bias-gelu": ("fuse-bias-gelu", "fuse-transformer-ops,decompose-transformer-ops"),
    "spell-out-embed-layer-norm": ("fuse-embed-layer-norm", "fuse-transformer-ops,decompose-transformer-ops"),
    "spell-out-fused-matmul": ("fuse-operands-of-product", "fuse-transformer-ops,decompose-transformer-ops"),
    "spell-out-group-query-attention": ("use-group-query-attention", "fuse-microsoft-attention,decompose-attention"),
    "spell-out-multi-head-attention": ("use-multi-head-attention", "fuse-microsoft-attention,decompose-attention"),
    "spell-out-rotary-embedding": ("use-rotary-embedding", "fuse-microsoft-attention,decompose-attention"),
    "spell-out-skip-layer-norm": ("fuse-skip-layer-norm", "fuse-skip-norms,decompose-transformer-ops"),
    "spell-out-skip-rms-norm": ("fuse-skip-rms-norm", "fuse-skip-norms,decompose-transformer-ops"),
    "split-conv-activation": ("fuse-conv-activation", "fuse-conv-activation,legalize-onnx"),
    "use-fused-conv": ("fuse-conv-activation", "fuse-conv-activation,legalize-onnxruntime"),
}
#: Passes without rules, and how many of the models that they are given each changes at least.
CHANGED = {
    "constants-to-initializers": 12,
    "convert-to-float16": 12,
    "convert-to-float32": 12,
    "deduplicate-constants": 12,
    "eliminate-common-subexpressions": 4,
    "eliminate-dead-code": 12,
    "fold-constants": 12,
    "initializers-to-constants": 12,
    "inline-functions": 6,
    "prune-magnitude": 12,
    "raise-opset": 12,
    "remove-unused-functions": 6,
    "remove-unused-opsets": 12,
    "share-shape-values": 5,
    "simplify-if": 2,
    "simplify-loop": 3,
}
#: Passes that do nothing until somebody states something; their own tests do.
WITHOUT_OPTIONS_NOTHING = {"set-input-shapes"}
#: Passes that may do more in a second run: that takes away more, or fits anew.
GO_ON = {"equalize-layers", "prune-channels", "reconstruct-layers", "recover-masked"}
#: Passes that look at data or read a file; their own tests bring some.
WITH_DATA = {
    "apply-pruning-plan",
    "assign-quantization",
    "correct-biases",
    "gptq-weights",
    "smooth-activations",
    "reestimate-batch-norm",
    "split-outliers",
}


def hold(
    testable: object, models: Iterable[GeneratedModel], *, environment: Environment | None = None, target: str = TARGET
) -> CheckReport:
    """Hold it to all laws on each of the models."""
    drawn = list(models)
    report = check_pass(
        testable,  # type: ignore[arg-type]  # a name, pass or rule
        models=st.sampled_from(drawn),
        max_examples=20 * len(drawn),
        transformations=(RENAMING, NODE_ORDER, INLINING),
        require_rewrites=False,
        target=target,
        environment=environment,
    )
    assert {"models": len(drawn)} == report.examples, "each of them once"
    return report


def around(rule: Rule) -> list[GeneratedModel]:
    """Models to which a rule applies, and as many to which it nearly does."""
    if rule.name in HAND_MADE:
        return made_by_hand(rule, EACH)
    return [*some(sampled_matching, rule), *some(sampled_near_misses, rule)]


def some(sample: Callable[..., Iterator[GeneratedModel]], rule: Rule) -> list[GeneratedModel]:
    """Models for a rule, of one seed after the other: a seed may have none for a rule that asks for much."""
    found = (model for seed in range(SEED, SEED + 20) for model in sample(rule, EACH, seed=seed))
    return list(islice(found, EACH))


# -- rules ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(RULES.keys() - THROUGH_PIPELINES))
def test_rules_keep_all_laws(name):
    models = around(RULES[name])
    assert 2 * EACH == len(models)
    report = hold(RULES[name], models)
    assert report.rewrites[name] >= EACH, "it applies to the first half"
    assert bool(report.compared) != isinstance(RULES[name].numerics, Lossy), "of lossy results only types are judged"
    assert report.compared >= EACH or isinstance(RULES[name].numerics, Lossy), "numbers were looked at"
    assert {"equivalent", "honest", "idempotent", "deterministic", "unchanged-input"} <= report.laws.keys()


@pytest.mark.parametrize("name", sorted(THROUGH_PIPELINES))
def test_rules_that_lower_are_tested_with_what_makes_their_nodes(name):
    maker, pipeline = THROUGH_PIPELINES[name]
    report = hold(pipeline, around(RULES[maker]))
    assert report.rewrites[maker] >= EACH
    assert report.rewrites[name] >= EACH
    assert report.compared >= EACH


def test_no_rule_is_left_out():
    assert THROUGH_PIPELINES.keys() <= RULES.keys()
    assert len(RULES) >= 52


# -- passes -----------------------------------------------------------------------------------------------------------------


@functools.cache
def of_all_kinds() -> tuple[GeneratedModel, ...]:
    return tuple(sampled_models(160, seed=SEED))


def with_something_unused(model: GeneratedModel) -> GeneratedModel:
    """The model with a function that nobody calls, if it has functions, and a domain that nobody uses."""
    proto = ModelProto()
    proto.CopyFrom(model.proto)
    proto.opset_import.append(helper.make_opsetid("org.unused", 1))
    if proto.functions:
        proto.functions.add().CopyFrom(proto.functions[0])
        proto.functions[-1].name = "Unused"
    return dataclasses.replace(model, proto=proto)


def models_for(name: str) -> list[GeneratedModel]:
    """Models that a pass changes, as many as there are and at most twelve, and some that it does not change."""
    models: Iterable[GeneratedModel] = of_all_kinds()
    if name.startswith("remove-unused"):
        models = map(with_something_unused, models)
    changed: dict[bool, list[GeneratedModel]] = {True: [], False: []}
    for model in models:
        changed[assert_honest(name, model, target=TARGET).changed].append(model)
        if len(changed[True]) == EACH:
            break
    return [*changed[True], *changed[False][: EACH // 2]]


@pytest.mark.parametrize("name", sorted(CHANGED))
def test_passes_without_rules_keep_all_laws(name):
    models = models_for(name)
    report = hold(name, models)
    assert report.changed >= CHANGED[name]
    assert report.laws["idempotent"] == len(models), "each declares it"
    is_lossy = isinstance(PASSES.find(name)().declared_numerics, Lossy)
    assert bool(report.compared) != is_lossy, "of lossy results only types are judged"


@pytest.mark.parametrize("name", sorted(set(PASSES) - CHANGED.keys() - WITHOUT_OPTIONS_NOTHING - WITH_DATA))
def test_passes_of_rules_keep_all_laws_on_models_of_all_kinds(name):
    report = hold(name, of_all_kinds()[:EACH])
    assert report.laws["honest"] == EACH
    assert name in GO_ON or report.laws["idempotent"] == EACH


# -- plugins ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("package", "place", "name", "rules"),
    [
        ("graphopt-double-neg", "graphopt_double_neg", "EliminateDoubleNeg", 1),
        ("graphopt-squared-relu", "graphopt_squared_relu.fusion", "FuseSquaredRelu", 2),
    ],
)
def test_passes_of_the_example_plugins_keep_all_laws(package, place, name, rules, monkeypatch):
    monkeypatch.syspath_prepend(PLUGINS / package / "src")
    plugin = pytest.importorskip(place.partition(".")[0])
    found = getattr(pytest.importorskip(place), name)
    plugins = builtin_plugins(discover=False)
    plugins.register(plugin, name=package)
    environment = Environment(plugins.load())
    assert rules == len(found().rules)
    for rule in found().rules:
        report = hold(rule, around(rule), environment=environment)
        assert report.rewrites[rule.name] >= EACH
        assert report.compared >= EACH
