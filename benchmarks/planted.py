"""Twenty bugs as they are really made, each in a pass of its own: what a search for the wrong rewrite is measured with.

A bug notes where it first did something wrong, so that the answer of a search can be compared with the truth. Most of the rules are right
at many nodes and wrong at some: the search has to tell them apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any, ClassVar, Final

import numpy as np

from benchmarks.planted_models import convolutions, encoder
from graphopt import hookimpl
from graphopt.builtin_plugin import builtin_plugins
from graphopt.ir import Constant, Graph, Model, Node, Value
from graphopt.passes import Pass, PassContext, PassResult, RewritePass
from graphopt.plugin_manager import PluginManager
from graphopt.rewriting import Match, NoMatch, Replacement, Rewriter, Rule, any_, const, op, rewrite

__all__ = ["PLUGIN", "Planted", "planted"]

PLUGIN: Final = "planted"
_BEFORE: Final = "{},O2"
_AMONG: Final = "prepare,fixpoint{{max_rounds=4}}(fold-shapes,{},eliminate-dead-code),fuse,tidy"
_AFTER: Final = "prepare,exact,{},fuse,tidy"

Notes = list[str]


@dataclass
class Planted:
    """A bug in a pass.

    Attributes:
        name: of the pass.
        made: makes the pass; it notes the sites at which it is wrong.
        model: makes the model that it is looked for in.
        place: text of the pipeline, with ``{}`` where the pass stands.
        rule: the rule that must be named; that of the pass itself when its edits are no rules.
        kind: how the result fails.
        numbered: whether its edits have numbers.
        notes: the sites, in order of application.
    """

    name: str
    made: Callable[[Notes], type[Pass]]
    model: Callable[[], Model]
    place: str
    rule: str
    kind: str = "wrong-numbers"
    numbered: bool = True
    notes: Notes = field(default_factory=list)

    @property
    def story(self) -> str:
        """What its author did."""
        return (self.made.__doc__ or "").rstrip(".")

    @property
    def pipeline(self) -> str:
        """Text of the pipeline."""
        return self.place.format(self.name)

    def plugins(self) -> PluginManager:
        """The built-in plugins, and one that brings the bug."""
        found = builtin_plugins(discover=False)
        made = self.made(self.notes)

        @hookimpl
        def graphopt_passes() -> list[type[Pass]]:
            return [made]

        found.register(SimpleNamespace(graphopt_passes=graphopt_passes), name=PLUGIN)
        return found


def _rules(name: str, *rules: Rule) -> type[RewritePass]:
    found: type[RewritePass] = type(
        "Planted", (RewritePass,), {"__doc__": "Wrong on purpose.", "name": name, "rules": rules}
    )
    return found


def _whole_graph(name: str, run: Callable[[Graph, PassContext], PassResult]) -> type[Pass]:
    @dataclass(frozen=True)
    class WholeGraph(Pass):
        """Wrong on purpose."""

        def run(self, graph: Graph, ctx: PassContext) -> PassResult:
            return run(graph, ctx)

    WholeGraph.name = name
    return WholeGraph


def _site(rw: Rewriter) -> str:
    return rw.root.outputs[0].name


# -- arithmetic ---------------------------------------------------------------------------------------------------------------

_NORMALIZED: Final = op.BatchNormalization(
    op.Conv(any_("x"), const("w"), const("b"), name="conv"),
    const("scale"), const("bias"), const("mean"), const("var"), name="bn",
)  # fmt: skip


def _folded(m: Match, rw: Rewriter, *, epsilon: float | None = None, sign: float = 1) -> Value:
    eps: Any = m.attr("bn", "epsilon") if epsilon is None else epsilon
    scale, bias, mean, var = (m.array(name).astype(np.float32) for name in ("scale", "bias", "mean", "var"))
    factor = scale / np.sqrt(var + np.float32(eps))
    w = m.array("w").astype(np.float32) * factor[:, None, None, None]
    b = (m.array("b").astype(np.float32) - np.float32(sign) * mean) * factor + bias
    return rw.new_node("Conv", [m["x"], w, b], attributes=dict(m.node("conv").attributes)).output


def _forgotten_epsilon(notes: Notes) -> type[Pass]:
    """A fold leaves epsilon out."""

    @rewrite(_NORMALIZED)
    def fold_without_epsilon(m: Match, rw: Rewriter) -> Replacement:
        notes.append(_site(rw))
        return _folded(m, rw, epsilon=0)

    return _rules("forgotten-epsilon", fold_without_epsilon)


def _wrong_sign(notes: Notes) -> type[Pass]:
    """A fold adds the mean."""

    @rewrite(_NORMALIZED)
    def fold_with_wrong_sign(m: Match, rw: Rewriter) -> Replacement:
        notes.append(_site(rw))
        return _folded(m, rw, sign=-1)

    return _rules("wrong-sign", fold_with_wrong_sign)


def _clip_minimum(notes: Notes) -> type[Pass]:
    """Merged clips take the lower bound of both."""

    @rewrite(op.Clip(op.Clip(any_("x"), const("a"), const("b")), const("c"), const("d")))
    def merge_clips_wrongly(m: Match, rw: Rewriter) -> Replacement:
        notes.append(_site(rw))
        return rw.new("Clip", m["x"], np.minimum(m.array("a"), m.array("c")), np.minimum(m.array("b"), m.array("d")))

    return _rules("clip-minimum", merge_clips_wrongly)


def _half_reciprocal(notes: Notes) -> type[Pass]:
    """1/c is rounded to half precision."""

    @rewrite(op.Div(any_("x"), const("c")))
    def multiply_by_half_reciprocal(m: Match, rw: Rewriter) -> Replacement:
        factor = (1 / m.array("c").astype(np.float16)).astype(np.float32)
        notes.append(_site(rw))
        return rw.new("Mul", m["x"], factor)

    return _rules("half-reciprocal", multiply_by_half_reciprocal)


def _missing_abs(notes: Notes) -> type[Pass]:
    """Sqrt(x*x) is taken for x."""

    @rewrite(op.Sqrt(op.Mul(any_("x"), any_("x"))))
    def drop_root_of_square(m: Match, rw: Rewriter) -> Replacement:
        notes.append(_site(rw))
        return m["x"]

    return _rules("missing-abs", drop_root_of_square)


def _swapped_operands(notes: Notes) -> type[Pass]:
    """X-c becomes c-x."""

    @rewrite(op.Sub(any_("x"), const("c")))
    def negate_constant(m: Match, rw: Rewriter) -> Replacement:
        notes.append(_site(rw))
        return rw.new("Add", rw.new("Neg", m["x"]), m["c"])

    return _rules("swapped-operands", negate_constant)


# -- guards -------------------------------------------------------------------------------------------------------------------


def _missing_single_use(notes: Notes) -> type[Pass]:
    """A convolution that is read elsewhere is changed."""
    conv = op.Conv(any_("x"), const("w"), const("b"), name="conv", shared=True)

    @rewrite(op.BatchNormalization(conv, const("scale"), const("bias"), const("mean"), const("var"), name="bn"))
    def fold_into_shared(m: Match, rw: Rewriter) -> Replacement:
        node = m.node("conv")
        if not node.output.has_single_use:
            notes.append(_site(rw))
        made = _folded(m, rw)
        assert made.producer is not None
        for index in (1, 2):
            rw.set_input(node, index, made.producer.inputs[index])
        return node.output

    return _rules("missing-single-use", fold_into_shared)


def _near_neutral(notes: Notes) -> type[Pass]:
    """A factor with mean 1 is dropped."""

    @rewrite(op.Mul(any_("x"), const("c")))
    def drop_neutral_factor(m: Match, rw: Rewriter) -> Replacement:
        factor = m.array("c")
        if abs(float(factor.mean()) - 1) > 0.05:
            return NoMatch("the factor is not one")
        notes.append(_site(rw))
        return m["x"]

    return _rules("near-neutral", drop_neutral_factor)


def _lossy_cast(notes: Notes) -> type[Pass]:
    """Float to int64 to float is dropped."""

    @rewrite(op.Cast(op.Cast(any_("x"), name="inner"), name="outer"))
    def drop_round_trip(m: Match, rw: Rewriter) -> Replacement:
        if m["x"].dtype is None or m["x"].dtype is not rw.root.output.dtype:
            return NoMatch("it does not come back to the type it left")
        if m.attr("inner", "to") == 7:
            notes.append(_site(rw))
        return m["x"]

    return _rules("lossy-cast", drop_round_trip)


def _scalar_shape(notes: Notes) -> type[Pass]:
    """The shape of a scalar is indexed."""

    @rewrite(op.Add(any_("x"), const("c"), commute=True))
    def split_by_length(m: Match, rw: Rewriter) -> Replacement:
        if not m.array("c").ndim:
            notes.append(_site(rw))
        length = m.array("c").shape[0]  # a scalar has none
        return NoMatch("%d is odd", length)

    return _rules("scalar-shape", split_by_length)


# -- attributes ---------------------------------------------------------------------------------------------------------------


def _dropped_attribute(notes: Notes) -> type[Pass]:
    """Count_include_pad is lost."""

    @rewrite(op.AveragePool(any_("x"), name="pool", count_include_pad=1))
    def rebuild_pool(m: Match, rw: Rewriter) -> Replacement:
        notes.append(_site(rw))
        pool = m.node("pool")
        return rw.new("AveragePool", m["x"], kernel_shape=pool.attr("kernel_shape"), pads=pool.attr("pads"))

    return _rules("dropped-attribute", rebuild_pool)


def _wrong_axis(notes: Notes) -> type[Pass]:
    """Softmax over the axis before the last."""

    @rewrite(op.Softmax(any_("x"), axis=-1))
    def state_axis(m: Match, rw: Rewriter) -> Replacement:
        notes.append(_site(rw))
        return rw.new("Softmax", m["x"], axis=2)

    return _rules("wrong-axis", state_axis)


def _wrong_order(notes: Notes) -> type[Pass]:
    """Permutations are composed the wrong way round."""

    @rewrite(op.Transpose(op.Transpose(any_("x"), name="inner"), name="outer"))
    def merge_transposes_wrongly(m: Match, rw: Rewriter) -> Replacement:
        inner: Any = m.attr("inner", "perm")
        outer: Any = m.attr("outer", "perm")
        right, wrong = [inner[axis] for axis in outer], [outer[axis] for axis in inner]
        if right != wrong:
            notes.append(_site(rw))
        return rw.new("Transpose", m["x"], perm=wrong)

    return _rules("wrong-order", merge_transposes_wrongly)


def _swapped_pads(notes: Notes) -> type[Pass]:
    """Begin and end of pads are swapped."""

    @rewrite(op.Conv(op.Pad(any_("x"), const("pads")), const("w"), const("b"), name="conv"))
    def fold_pad_swapped(m: Match, rw: Rewriter) -> Replacement:
        notes.append(_site(rw))
        begin, end = m.array("pads")[2:4].tolist(), m.array("pads")[6:8].tolist()
        return rw.new("Conv", m["x"], m["w"], m["b"], pads=[*end, *begin])

    return _rules("swapped-pads", fold_pad_swapped)


def _unknown_operator(notes: Notes) -> type[Pass]:
    """An operator that the runtime lacks."""

    @rewrite(op.Clip(any_("x"), const("low"), const("high")))
    def use_missing_operator(m: Match, rw: Rewriter) -> Replacement:
        if float(m.array("low")) != -1:
            return NoMatch("the lower bound is not -1")
        notes.append(_site(rw))
        return rw.new("com.microsoft::ClipFromMinusOne", m["x"], m["high"])

    return _rules("unknown-operator", use_missing_operator)


# -- whole graphs -------------------------------------------------------------------------------------------------------------


def _merge_blindly(notes: Notes) -> type[Pass]:
    """Equal nodes are merged whatever their attributes are."""

    def run(graph: Graph, ctx: PassContext) -> PassResult:
        known: dict[tuple[object, ...], Node] = {}
        merged = 0
        rw = Rewriter(ctx.types)
        for node in graph.nodes:
            key = (node.op, *map(id, node.inputs))
            first = known.setdefault(key, node)
            if (
                first is node
                or len(node.outputs) != 1
                or not ctx.applications.admits("merge-blindly", node.output.name)
            ):
                continue
            site = node.output.name
            if first.attributes != node.attributes:  # which nobody looks at
                notes.append(site)
            rw.start(node)
            rw.finish(node, [first.output])
            ctx.applications.record("merge-blindly", site)
            merged += 1
        return PassResult(merged > 0, {"nodes": merged})

    return _whole_graph("merge-blindly", run)


def _off_by_one(notes: Notes) -> type[Pass]:
    """Slices begin and end one too early."""

    def run(graph: Graph, ctx: PassContext) -> PassResult:
        moved = 0
        for node in graph.nodes:
            if node.op != "Slice" or node.inputs[1] is None or node.inputs[1].const is None:
                continue
            start = node.inputs[1].const.numpy()
            if not start.all():
                continue
            notes.append("")
            for index in (1, 2):
                value = node.inputs[index]
                assert value is not None and value.const is not None  # noqa: PT018
                made = Constant(value.const.numpy() - 1)
                node.replace_input(index, graph.add_constant(made, f"{node.output.name}_moved"))
            moved += 1
        return PassResult(moved > 0, {"slices": moved})

    return _whole_graph("off-by-one", run)


def _narrow_weights(notes: Notes) -> type[Pass]:
    """Weights are rounded to half precision."""

    def run(graph: Graph, ctx: PassContext) -> PassResult:
        narrowed = 0
        for value in graph.initializers():
            if (
                value.const is None
                or value.const.ndim != 2
                or not ctx.applications.admits("narrow-weights", value.name)
            ):
                continue
            array = value.const.numpy()
            rounded = array.astype(np.float16).astype(np.float32)
            if array.dtype != np.float32 or (rounded == array).all():
                continue
            notes.append(value.name)
            value.const = Constant(rounded)
            ctx.applications.record("narrow-weights", value.name)
            narrowed += 1
        return PassResult(narrowed > 0, {"weights": narrowed})

    return _whole_graph("narrow-weights", run)


def _silent_change(notes: Notes) -> type[Pass]:
    """A pass changes a node and denies it."""

    def run(graph: Graph, ctx: PassContext) -> PassResult:
        for node in graph.nodes:
            if node.op == "Tanh":
                notes.append("")
                node.set_op("Sin")
                break
        return PassResult(changed=False)

    return _whole_graph("silent-change", run)


class _RewireTooEarly:
    """Reads a value that is computed later."""

    name: ClassVar[str] = "read-too-early"

    def __init__(self, notes: Notes) -> None:
        self.notes = notes

    def __call__(self, graph: Graph, ctx: PassContext) -> PassResult:
        nodes = [node for node in graph.nodes if node.op == "Abs"]
        if len(nodes) < 2 or not ctx.applications.admits(self.name, nodes[0].output.name):
            return PassResult(changed=False)
        self.notes.append(nodes[0].output.name)
        nodes[0].replace_input(0, nodes[1].output)
        ctx.applications.record(self.name, nodes[0].output.name)
        return PassResult(changed=True)


def _read_too_early(notes: Notes) -> type[Pass]:
    """A node reads what is computed after it."""
    return _whole_graph("read-too-early", _RewireTooEarly(notes))


def planted() -> list[Planted]:
    """Return all bugs, fresh."""
    cnn, net = convolutions, encoder
    return [
        Planted("forgotten-epsilon", _forgotten_epsilon, partial(cnn, 8), _BEFORE, "fold-without-epsilon"),
        Planted("wrong-sign", _wrong_sign, partial(cnn, 60), _BEFORE, "fold-with-wrong-sign"),
        Planted("clip-minimum", _clip_minimum, partial(cnn, 20), _AMONG, "merge-clips-wrongly"),
        Planted("half-reciprocal", _half_reciprocal, partial(cnn, 12), _AMONG, "multiply-by-half-reciprocal"),
        Planted("missing-abs", _missing_abs, partial(net, 6), _AMONG, "drop-root-of-square"),
        Planted("swapped-operands", _swapped_operands, partial(net, 3), _BEFORE, "negate-constant"),
        Planted("missing-single-use", _missing_single_use, partial(cnn, 16), _BEFORE, "fold-into-shared"),
        Planted("near-neutral", _near_neutral, partial(net, 8), _AFTER, "drop-neutral-factor"),
        Planted("lossy-cast", _lossy_cast, partial(net, 10), _BEFORE, "drop-round-trip"),
        Planted("scalar-shape", _scalar_shape, partial(net, 5), _AMONG, "split-by-length", "exception"),
        Planted("dropped-attribute", _dropped_attribute, partial(cnn, 30), _AFTER, "rebuild-pool"),
        Planted("wrong-axis", _wrong_axis, partial(net, 20), _AFTER, "state-axis"),
        Planted("wrong-order", _wrong_order, partial(net, 12), _BEFORE, "merge-transposes-wrongly", "invalid-model"),
        Planted("swapped-pads", _swapped_pads, partial(cnn, 5), _AMONG, "fold-pad-swapped"),
        Planted("unknown-operator", _unknown_operator, partial(cnn, 10), _BEFORE, "use-missing-operator", "invalid-model"),
        Planted("merge-blindly", _merge_blindly, partial(net, 20), _BEFORE, "merge-blindly", "invalid-model"),
        Planted("off-by-one", _off_by_one, partial(cnn, 25), _BEFORE, "off-by-one", numbered=False),
        Planted("narrow-weights", _narrow_weights, partial(net, 4), _AFTER, "narrow-weights"),
        Planted("silent-change", _silent_change, partial(net, 7), _AMONG, "silent-change", numbered=False),
        Planted("read-too-early", _read_too_early, partial(net, 9), _AFTER, "read-too-early", "invalid-model"),
    ]  # fmt: skip
