"""Which parameter each weight of an ONNX model is, in memory and as a JSON file."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from graphopt.errors import ModelError
from graphopt_torch.arrangement import Arrangement
from graphopt_torch.files import write_whole
from graphopt_torch.folding import Norm
from graphopt_torch.recurrent import Stack

__all__ = ["Source", "WeightNames"]

_FORMAT = 1


@dataclass(frozen=True)
class Source:
    """Where a weight comes from.

    Attributes:
        parameter: name of the parameter; ``""`` for a bias that a layer without one got from its BatchNormalization.
        arrangement: how its axes are those of the parameter.
        norm: the BatchNormalization that was folded into it.
        is_bias: whether it is the bias that came of folding.
        stack: the parameters of a recurrent layer that make it, in place of ``parameter``.
    """

    parameter: str
    arrangement: Arrangement
    norm: Norm | None = None
    is_bias: bool = False
    stack: Stack | None = None

    @property
    def parameters(self):
        """All parameters that it is made of."""
        own = (self.parameter,) if self.parameter else ()
        return (
            own
            + (self.norm.names if self.norm is not None else ())
            + (self.stack.names if self.stack is not None else ())
        )

    def cuts(self, axis, kept):
        """Each parameter that loses indices when an axis of the weight does, with its axis and what is kept of it."""
        if self.stack is not None:
            return self.stack.cuts(axis, kept)
        place = self.arrangement.axes[axis]
        found = [(self.parameter, place, kept)] if self.parameter and place >= 0 else []
        if self.norm is not None and axis == 0:
            found += [(name, 0, kept) for name in self.norm.names]
        return found


@dataclass(frozen=True)
class WeightNames:
    """The parameters that the weights of a model are.

    Attributes:
        sources: by name of the weight.
        unmatched: weights that are no parameter, with the reason; constants of the model's own are among them.
        unused: parameters of floats that no weight is.
        counters: what the module holds beside floats, such as numbers of batches.
        prepare: pipeline that the model went through before; the weights are those of the result.
    """

    sources: Mapping[str, Source]
    unmatched: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    counters: tuple[str, ...] = ()
    prepare: str = ""

    def summary(self):
        """What is known in one line, and a line for each weight of floats and each parameter that is left."""
        folded = sum(source.norm is not None and not source.is_bias for source in self.sources.values())
        lines = [f"{len(self.sources)} weights are parameters, {folded} of them with a BatchNormalization folded in"]
        lines += [f"weight {name!r} is none: {why}" for name, why in self.unmatched.items()]
        lines += [f"parameter {name!r} is no weight" for name in self.unused]
        return "\n".join(lines)

    def save(self, path, *, force=False):
        """Write the names as JSON, whole or not at all; returns the path."""
        document = {"format": _FORMAT, **msgspec.to_builtins(self)}
        return write_whole(path, msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n", force=force)

    @classmethod
    def load(cls, path):
        """Read names that :meth:`save` wrote.

        Raises:
            ModelError: if the file can't be read, or holds something else.
        """
        where = f"names {os.fspath(path)!r}"
        try:
            with open(path, "rb") as file:
                document = msgspec.json.decode(file.read())
            if not isinstance(document, dict) or document.pop("format", None) != _FORMAT:
                raise ModelError(
                    f"{where} is no file of names of format {_FORMAT}; write one with graphopt torch names"
                )
            return msgspec.convert(document, cls)
        except OSError as err:
            raise ModelError(f"{where} cannot be read: {err.strerror or err}; check the path") from err
        except (ValueError, RecursionError) as err:
            reason = " ".join(str(err).split())
            raise ModelError(f"{where} is not understood: {reason}; write it with graphopt torch names") from err
