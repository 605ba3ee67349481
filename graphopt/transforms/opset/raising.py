"""The pass that raises a model: all owners are planned first, then edited together.

Handles main graphs, subgraphs and functions (each at its own opset); operators of other domains are left alone. Never lowers. A node that
no adapter can make up for is an error that names it, and the model is as it was. Numerics: re-associates, for runtimes compute some
operators by other kernels at newer opsets; the adapters are exact. Needs types.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, cast

import msgspec

from graphopt.errors import UnsupportedOpError
from graphopt.ir import Graph, GraphOwner, Model, Node, find_schema
from graphopt.numerics import Numerics, Reassociates
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.rewriting import Rewriter
from graphopt.target import Target
from graphopt.transforms.opset import axes, bounds, normalization, renamed, resize, scan, softmax
from graphopt.transforms.opset.change import ADAPTERS, Change, Edit, RefusedError
from graphopt.transforms.opset.versions import OLDEST, crossed, is_free, newest_raisable, refused_type

__all__ = ["RaiseOpset"]

#: They register their adapters; named so that it is seen what is there.
_ADAPTER_MODULES = (axes, bounds, normalization, renamed, resize, scan, softmax)


@dataclass(frozen=True)
class RaiseOpset(Pass):
    """Raise the model, its subgraphs and functions, to a newer opset of the default domain; never lower. Re-associates; idempotent.

    Attributes:
        to: the opset, 7 or later; ``null`` for the newest that the target runs and all nodes can be raised to.
        strict: whether a node that can't be raised to a stated opset is an error; else the model stays at its own.
    """

    name: ClassVar[str] = "raise-opset"
    numerics: ClassVar[Numerics] = Reassociates()
    per_function: ClassVar[bool] = False
    keeps_types: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True
    may_change: ClassVar[tuple[str, ...]] = ("opset",)
    to: Annotated[int, msgspec.Meta(ge=OLDEST)] | None = None
    strict: bool = True

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Plan for all nodes, then edit.

        Raises:
            UnsupportedOpError: if a node can't be raised to ``to``, or nobody knows or runs that opset.
        """
        model = cast(Model, graph.owner)
        if not ctx.applications.admits(self.name, ""):
            return PassResult(changed=False)
        try:
            plan = self._plan(model, ctx.target)
        except UnsupportedOpError as err:
            if self.strict and self.to is not None:
                raise
            self.logger.info("the model stays at its opset: %s", err)
            return PassResult(changed=False)
        if plan is None:
            return PassResult(changed=False)
        plan.carry_out(Rewriter(ctx.types))
        ctx.applications.record(self.name, "")
        return PassResult(changed=True, stats={"opsets": len(plan.owners), "nodes": len(plan.edits)})

    def _plan(self, model: Model, target: Target) -> _Plan | None:
        """What is to be done, ``None`` for nothing."""
        to = newest_raisable(target.max_opset) if self.to is None else self.to
        while owners := [owner for owner in model.owners() if owner.opset_imports.get("", to) < to]:
            plan = _Plan(model, owners, to, target)
            if not plan.refused:
                return plan
            if self.to is not None:
                raise plan.refusal()
            to = plan.newest
        return None


class _Plan:
    """What is to be done, made while nothing is.

    Raises:
        UnsupportedOpError: if nobody knows or runs the opset, or the model is too old.
    """

    def __init__(self, model: Model, owners: list[GraphOwner], to: int, target: Target) -> None:
        self.owners, self.to = owners, to
        self.edits: list[tuple[Node, Edit]] = []
        self._model, self._target = model, target
        self._known: dict[tuple[object, ...], tuple[tuple[int, ...], RefusedError | None]] = {}
        newest = newest_raisable(target.max_opset)
        if to > newest:
            raise UnsupportedOpError(
                f"opset {to} is newer than opset {newest}, the newest that target {target.name!r} and this graphopt know; "
                f"choose one up to {newest}"
            )
        oldest = min(owner.opset_imports[""] for owner in owners)
        if oldest < OLDEST:
            raise UnsupportedOpError(
                f"the model is of opset {oldest}, and only opset {OLDEST} and later can be raised; convert it with onnx.version_converter"
            )
        self.refused = list(self._collect())

    @property
    def newest(self) -> int:
        """The newest opset that all nodes that can't be raised so far may have."""
        return min(err.newest for _node, _old, err in self.refused)

    def refusal(self) -> UnsupportedOpError:
        """The error for nodes that can't be raised."""
        node, old, err = self.refused[0]
        more = f" (and {len(self.refused) - 1} more)" if len(self.refused) > 1 else ""
        hint = f"opset {self.newest} is the newest for this model" if self.newest > old else "keep the model's opset"
        name = node.name or (node.outputs[0].name if node.outputs else "")
        return UnsupportedOpError(
            f"node {name!r} ({node.op}){more} can't be raised from opset {old} to {self.to}: {err}; {hint}"
        )

    def _collect(self) -> Iterator[tuple[Node, int, RefusedError]]:
        """Fill in the edits; gives what can't be raised."""
        for owner in self.owners:
            old = owner.opset_imports[""]
            for node in owner.graph.walk():
                if node.domain or self._model.function_of(node.domain, node.op_type, node.overload) is not None:
                    continue
                try:
                    edit = self._edit_of(Change(node, old, self.to))
                except RefusedError as err:
                    yield node, old, err
                    continue
                if edit is not None:
                    self.edits.append((node, edit))

    def _edit_of(self, change: Change) -> Edit | None:
        """What a node needs, ``None`` for nothing."""
        node = change.node
        kinds = tuple(None if value is None else value.dtype for value in node.inputs)
        key = (node.op_type, change.old, kinds)
        if key not in self._known:
            self._known[key] = self._look_up(change)
        versions, reason = self._known[key]
        if reason is not None:
            raise RefusedError(str(reason), reason.newest)
        entry = ADAPTERS.get(node.op_type) if versions else None
        return None if entry is None else entry.adapt(change)

    def _look_up(self, change: Change) -> tuple[tuple[int, ...], RefusedError | None]:
        """The versions of an operator that lie between, and why no node of it with these element types can be raised."""
        op_type, old, new = change.node.op_type, change.old, change.new
        versions = crossed(op_type, old, new)
        if not versions:
            return (), None
        if find_schema("", op_type, old) is None:
            return versions, change.refuse(versions[0], f"opset {old} has no operator {op_type}")
        entry = ADAPTERS.get(op_type)
        for version in versions:
            if (entry is None or version not in entry.versions) and not is_free(op_type, version):
                return versions, change.refuse(version, f"no adapter knows its version of opset {version}")
        schema = find_schema("", op_type, new)
        if schema is not None and not schema.deprecated:
            reason = self._target_reason(change, versions[-1])
            if reason:
                return versions, change.refuse(versions[-1], reason)
        return versions, None

    def _target_reason(self, change: Change, newest: int) -> str:
        """Why the newest version does not do: for its types, or as the target has a kernel for the old one only. ``""`` if it does."""
        node, target = change.node, self._target
        lost = refused_type(node, change.new)
        if lost:
            return f"its newest version no longer takes {lost}"
        if target.kernels is None:
            return ""
        data = node.input_at(0)
        dtype = None if data is None else data.dtype
        had, has = (target.has_kernel(node.op, dtype, opset=opset) for opset in (change.old, change.new))
        return f"target {target.name!r} has no kernel for its version of opset {newest}" if had and not has else ""

    def carry_out(self, rewriter: Rewriter) -> None:
        """Import the opset, and make the edits."""
        for owner in self.owners:
            owner.opset_imports[""] = self.to
            owner.graph.touch()
        for node, edit in self.edits:
            if node.graph is not None:
                rewriter.start(node)
                edit(rewriter)
                rewriter.settle()
