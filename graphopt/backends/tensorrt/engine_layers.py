"""The layers of an engine, which are not those of its network: the builder fuses, splits and moves, and tells from which nodes each came.

The text that the builder writes to its log and the JSON of TensorRT's engine inspector say the same: names, kinds, element types, and the
metadata of all layers of the network that went into one, which graphopt had set to names of original nodes as JSON lists. The log
needs no GPU; the inspector needs a device that the engine runs on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["EngineLayer", "layers_from_json", "layers_from_text"]

_DTYPE: Final = re.compile(r"\bDatatype: (\w+)")
_BEGIN: Final = "Name: "
_KIND: Final = ", LayerType: "
_METADATA: Final = ", Metadata: "
_SECTIONS: Final = ("Inputs", "Constants", "Outputs")
#: TensorRT's names of element types, as the models say them.
_NAMES: Final = {
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "BF16": "bfloat16",
    "Int8": "int8",
    "UInt8": "uint8",
    "FP8": "float8",
    "E4m3": "float8",
    "Int4": "int4",
    "Int32": "int32",
    "Int64": "int64",
    "Bool": "bool",
}
_SMALL: Final = ("int4", "float8", "int8")


@dataclass(frozen=True, slots=True)
class EngineLayer:
    """One layer of an engine.

    Attributes:
        name: that the builder gave it.
        kind: the library's word for it.
        reads: element types of its inputs.
        holds: those of its constants.
        gives: those of its outputs.
        nodes: names of the original nodes that went into it.
    """

    name: str
    kind: str
    reads: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()

    @property
    def precision(self) -> str:
        """The narrowest type that it computes with, ``""`` if nobody tells.

        A layer that reads and holds int8 is one of int8; one that holds int8 and reads floats has its weights in int8, and one that
        gives int8 converts.

        Example:
            >>> EngineLayer("c", "correlation", ("int8",), ("int8", "float32"), ("float32",)).precision
            'int8'
            >>> EngineLayer("m", "gemm", ("float16",), ("int4", "float16"), ("float16",)).precision
            'float16, weights int4'
        """
        read = next((kind for kind in _SMALL if kind in self.reads), None)
        held = next((kind for kind in _SMALL if kind in self.holds), None)
        wide = next((kind for kind in (*self.reads, *self.gives) if kind not in _SMALL), "")
        if read is not None:
            return read
        return f"{wide}, weights {held}" if held and not set(self.gives) & set(_SMALL) else wide

    def to_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "precision": self.precision,
            "reads": list(self.reads),
            "holds": list(self.holds),
            "gives": list(self.gives),
            "nodes": list(self.nodes),
        }


def layers_from_text(text: str) -> tuple[EngineLayer, ...]:
    """The layers that the builder's log tells; none if it tells them in another form.

    Args:
        text: a message that begins with ``Layers:``.

    Example:
        >>> line = 'Name: c, LayerType: gemm, Inputs: [ { Name: x, Datatype: Half }], Outputs: [], Metadata: ["/c"]["/d"]'
        >>> made = layers_from_text(chr(10).join(["Layers:", line]))
        >>> made[0].reads, made[0].nodes
        (('float16',), ('/c', '/d'))
    """
    lines: list[str] = []
    for line in text.partition("\n")[2].partition("\n\nI/O Tensors:")[0].split("\n"):
        if line.startswith(_BEGIN):
            lines.append(line)
        elif lines:
            lines[-1] += line  # a name with a line break in it
    return tuple(_from_line(line) for line in lines if _KIND in line)


def _from_line(line: str) -> EngineLayer:
    head, _, rest = line.partition(_KIND)
    body, nodes = _without_metadata(rest)
    kind, _, body = body.partition(", ")
    places = sorted((body.find(f"{name}: ["), name) for name in _SECTIONS)
    found: dict[str, tuple[str, ...]] = {}
    for (begin, name), (end, _) in zip(places, [*places[1:], (len(body), "")], strict=True):
        found[name] = _known(_DTYPE.findall(body[begin:end])) if begin >= 0 else ()
    return EngineLayer(head.removeprefix(_BEGIN), kind, found["Inputs"], found["Constants"], found["Outputs"], nodes)


def _without_metadata(text: str) -> tuple[str, tuple[str, ...]]:
    """A line up to its metadata, and the nodes of that. Names may hold the same words, but no lists follow these."""
    place = text.find(_METADATA)
    while place >= 0:
        nodes = _nodes_of(text[place + len(_METADATA) :])
        if nodes is not None:
            return text[:place], nodes
        place = text.find(_METADATA, place + 1)
    return text, ()


def layers_from_json(text: str) -> tuple[EngineLayer, ...]:
    """The layers that TensorRT's engine inspector tells as JSON; only names if the engine was built without details.

    Raises:
        ValueError: if it is no JSON of that form.
    """
    told: Any = json.loads(text)
    if not isinstance(told, Mapping) or not isinstance(told.get("Layers"), list):
        raise ValueError("there are no layers in it")
    return tuple(
        EngineLayer(str(item), "") if not isinstance(item, Mapping) else _from_mapping(item) for item in told["Layers"]
    )


def _from_mapping(item: Mapping[str, Any]) -> EngineLayer:
    dtypes = [
        _known([str(tensor.get("Datatype") or tensor.get("Format/Datatype", "")) for tensor in item.get(name) or ()])
        for name in _SECTIONS
    ]
    return EngineLayer(
        str(item.get("Name", "")),
        str(item.get("LayerType", "")),
        dtypes[0],
        dtypes[1],
        dtypes[2],
        _nodes_of(str(item.get("Metadata", ""))) or (),
    )


def _known(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_NAMES.get(name, name.lower()) for name in names if name))


def _nodes_of(metadata: str) -> tuple[str, ...] | None:
    """Names of nodes, from JSON lists one after the other, whatever stands between them; ``None`` if something else is listed."""
    decoder = json.JSONDecoder()
    names: dict[str, None] = {}
    place = metadata.find("[")
    while place >= 0:
        try:
            found, end = decoder.raw_decode(metadata, place)
        except ValueError:
            return None
        if not all(isinstance(item, str) for item in found):
            return None
        names |= dict.fromkeys(found)
        place = metadata.find("[", end)
    return tuple(names)
