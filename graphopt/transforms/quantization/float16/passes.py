"""The passes that change the type of floats: to float16 and bfloat16 with islands of float32, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import msgspec

from graphopt.ir import DType, Graph, Model, Node
from graphopt.numerics import Lossy, Numerics
from graphopt.passes import Pass, PassContext, PassResult, Range
from graphopt.rewriting import NoMatch
from graphopt.transforms.quantization.float16.conversion import Conversion
from graphopt.transforms.quantization.float16.islands import Islands, kept_nodes
from graphopt.transforms.quantization.layers import Selection

__all__ = ["ConvertToBfloat16", "ConvertToFloat16", "ConvertToFloat32"]


@dataclass(frozen=True)
class _ConvertFloats(Pass):
    """Change the type of floats.

    Attributes:
        interface: whether inputs and outputs of the model change too.
        include: layers to work on, by name, pattern or ``op:MatMul``; all if empty.
        exclude: layers to leave as they are.
    """

    numerics: ClassVar[Numerics] = Lossy()
    per_function: ClassVar[bool] = False
    keeps_types: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True
    source: ClassVar[DType] = DType.FLOAT
    goal: ClassVar[DType]
    interface: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def islands(self, graph: Graph, ctx: PassContext) -> Islands:
        """What stays as it is, by the options of the pass."""
        return Islands(self.source, self.goal, ctx.target, Selection(self.include, self.exclude))

    def kept(self, graph: Graph, ctx: PassContext) -> dict[Node, NoMatch]:
        """The nodes that would stay as they are now, each with the reason.

        Raises:
            CalibrationError: if there are data to look at, and they can't be.
        """
        return kept_nodes(graph, self.islands(graph, ctx))

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Decide for all nodes, then change them together.

        Raises:
            CalibrationError: if there are data to look at, and they can't be.
        """
        if not ctx.applications.admits(self.name, ""):
            return PassResult(changed=False)
        kept = self.kept(graph, ctx)
        for node, reason in kept.items():
            self.logger.debug("%s stays %s: %s", node, self.source, reason)
        conversion = Conversion(graph, self.source, self.goal, kept.keys(), self.interface)
        conversion.run()
        if not conversion.changed:
            return PassResult(changed=False)
        ctx.applications.record(self.name, "")
        return PassResult(changed=True, stats=conversion.stats)


def _ranges(graph: Graph, ctx: PassContext) -> dict[str, Range]:
    """Ranges of the floats of a main graph, where there are data or a table."""
    if ctx.calibration is None or not isinstance(graph.owner, Model):
        return {}
    names = [value.name for value in graph.values() if value.const is None and value.dtype is DType.FLOAT]
    return dict(ctx.calibration.ranges(graph.owner, names))


@dataclass(frozen=True)
class ConvertToFloat16(_ConvertFloats):
    """Compute in float16 what is safe there; the rest stays float32, with as few casts as can be.

    Stay: operators that draw numbers, find places, count, interpolate or quantize; long sums; constants and (where data or a table tell
    them) activations that float16 does not hold; positions and masks that are computed from integers; bodies' inputs and outputs, functions
    (``inline-functions`` opens them), and what the schema or the target has no float16 for. Touches weights; needs types; idempotent.
    Numerics: lossy.

    Attributes:
        depth: most terms that a reduction may sum.
        product_depth: most terms that each sum of a product of matrices may have; ``null`` for any number.
        largest: largest magnitude of activations, where data or a table tell it.
    """

    name: ClassVar[str] = "convert-to-float16"
    goal: ClassVar[DType] = DType.FLOAT16
    depth: Annotated[int, msgspec.Meta(ge=1)] = 2048
    product_depth: Annotated[int, msgspec.Meta(ge=1)] | None = None
    largest: Annotated[float, msgspec.Meta(gt=0, le=65504)] = 32752.0

    def islands(self, graph: Graph, ctx: PassContext) -> Islands:
        """All rules."""
        return Islands(
            self.source,
            self.goal,
            ctx.target,
            Selection(self.include, self.exclude),
            self.depth,
            self.product_depth,
            self.largest,
            self.interface,
            _ranges(graph, ctx),
        )


@dataclass(frozen=True)
class ConvertToBfloat16(_ConvertFloats):
    """Compute in bfloat16 what is safe there; the rest stays float32, with as few casts as can be. Needs opset 13.

    Stays what stays for ``convert-to-float16``, except for its range, which is that of float32. Touches weights; needs types; idempotent.
    Numerics: lossy.

    Attributes:
        depth: most terms that a reduction may sum.
        product_depth: most terms that each sum of a product of matrices may have; ``null`` for any number.
    """

    name: ClassVar[str] = "convert-to-bfloat16"
    goal: ClassVar[DType] = DType.BFLOAT16
    depth: Annotated[int, msgspec.Meta(ge=1)] = 256
    product_depth: Annotated[int, msgspec.Meta(ge=1)] | None = None

    def islands(self, graph: Graph, ctx: PassContext) -> Islands:
        """All rules but those about ranges."""
        selection = Selection(self.include, self.exclude)
        return Islands(
            self.source,
            self.goal,
            ctx.target,
            selection,
            self.depth,
            self.product_depth,
            math.inf,
            self.interface,
        )


@dataclass(frozen=True)
class ConvertToFloat32(_ConvertFloats):
    """Compute in float32 what is float16; casts between the two go.

    Touches weights; needs types; idempotent. Numerics: lossy (they are more exact).
    """

    name: ClassVar[str] = "convert-to-float32"
    source: ClassVar[DType] = DType.FLOAT16
    goal: ClassVar[DType] = DType.FLOAT
