"""The layers of an engine, and what it is built for, as tables for the terminal and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group, RenderableType
from rich.table import Table

from graphopt.report.layout import columns, facts
from graphopt.report.units import bytes_text

if TYPE_CHECKING:
    from graphopt.compiler.engines.inspection import InspectedEngine

__all__ = [
    "LayerFacts",
    "engine_dict",
    "engine_view",
    "layer_table",
    "precisions_text",
    "profiles_text",
    "sparse_text",
]

_MOST_NODES: Final = 4


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """What a table says of a layer of an engine.

    Attributes:
        name: that the builder gave it.
        kind: the library's word for it.
        precision: what it computes in, ``""`` if nobody tells.
        nodes: original nodes that went into it.
    """

    name: str
    kind: str
    precision: str
    nodes: tuple[str, ...]

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> LayerFacts:
        """From a manifest's plain values."""
        return cls(str(item["name"]), str(item["kind"]), str(item["precision"]), tuple(item["nodes"]))


def precisions_text(layers: Sequence[LayerFacts]) -> str:
    """How many layers compute in which type.

    Example:
        >>> made = [LayerFacts("a", "gemm", "int8", ()), LayerFacts("b", "kgen", "float32", ()), LayerFacts("c", "gemm", "int8", ())]
        >>> precisions_text(made)
        '2 int8, 1 float32'
    """
    found = Counter(layer.precision or "of no numbers" for layer in layers)
    return ", ".join(f"{count:,} {name}" for name, count in found.most_common())


def sparse_text(names: Sequence[str]) -> str:
    """How many nodes have weights whose zeros may be skipped, ``""`` for none."""
    if not names:
        return ""
    shown = ", ".join(names[:_MOST_NODES]) + (", ..." if len(names) > _MOST_NODES else "")
    return f"2 of 4 weights are zero in {len(names):,} node{'s' if len(names) > 1 else ''}: {shown}"


def profiles_text(profiles: Sequence[Mapping[str, Mapping[str, Sequence[Sequence[int]]]]]) -> str:
    """Sizes by input, a line for each profile.

    Example:
        >>> profiles_text([{"shapes": {"x": [[1, 3], [4, 3], [8, 3]], "y": [[2], [2], [2]]}}])
        'x 1x3, 4x3, 8x3; y 2'
    """
    lines = []
    for profile in profiles:
        parts = [
            f"{name} {', '.join(dict.fromkeys('x'.join(map(str, shape)) for shape in shapes))}"
            for kind in ("shapes", "values")
            for name, shapes in profile.get(kind, {}).items()
        ]
        lines.append("; ".join(parts))
    return "\n".join(lines)


def layer_table(layers: Sequence[LayerFacts], sparse: Sequence[str] = ()) -> Table:
    """Layers with the nodes that went into each."""
    zeros = set(sparse)
    rows = [
        [
            str(place),
            layer.kind,
            layer.precision,
            *(["2:4" if zeros & set(layer.nodes[:1]) else ""] if zeros else []),
            ", ".join(layer.nodes) or f"({layer.name})",
        ]
        for place, layer in enumerate(layers)
    ]
    return columns(("#>", "layer", "computes in", *(["sparse"] if zeros else []), "from nodes"), rows)


def engine_dict(found: InspectedEngine) -> dict[str, object]:
    """What an engine is, as plain values."""
    return {"file": str(found.path), "told_by": found.told_by, **found.facts, "engine": list(found.layers)}


def engine_view(found: InspectedEngine) -> RenderableType:
    """What an engine is, with its layers."""
    known = found.facts
    layers = [LayerFacts.of(item) for item in found.layers]
    told = {
        "engine": f"{found.path}, {bytes_text(int(known['bytes']))}",
        "library": f"{known.get('library', '')} {known.get('version', '')}".strip(),
        "built from": str(known.get("source", "")),
        "precision": str(known.get("precision", "")),
        "compiled for": ", ".join(f"compute capability {item}" for item in known.get("capabilities", ())),
        "sizes": profiles_text(known.get("profiles", ())),
        "layers": precisions_text(layers),
        "sparse": sparse_text(known.get("sparse", ())),
        "told by": found.told_by,
    }
    parts: list[RenderableType] = [facts({name: text for name, text in told.items() if text})]
    if layers:
        parts += ["", layer_table(layers, known.get("sparse", ()))]
    return Group(*parts)
