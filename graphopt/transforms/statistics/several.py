"""One run over the data for many questions: observers of tensors, several of one tensor among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from graphopt.errors import CalibrationError
from graphopt.ir import Array, Graph, Model, Value
from graphopt.passes import Observer, PassContext

__all__ = ["Several", "observed"]


class Several:
    """Shows a tensor to several observers.

    Args:
        observers: those.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def observe(self, array: Array) -> None:
        """Let each take a batch into account."""
        for observer in self._observers:
            observer.observe(array)


def observed(name: str, graph: Graph, ctx: PassContext, wanted: Iterable[tuple[Value, Observer]]) -> None:
    """Run the model on the calibration data once, and show tensors to observers. Nothing wanted, nothing run.

    Args:
        name: of the pass that asks.
        graph: the main graph of a model.
        ctx: has the data.
        wanted: tensors of the main graph, each with who is to see it; one may come several times.

    Raises:
        CalibrationError: if there is no data, a batch does not fit, or a tensor has NaN or infinities.
    """
    found: dict[str, list[Observer]] = {}
    for value, observer in wanted:
        found.setdefault(value.name, []).append(observer)
    if not found:
        return
    model = graph.owner
    if ctx.calibration is None or not isinstance(model, Model):
        raise CalibrationError(
            f"pass {name!r} looks at data, and there is none; bring calibration data, or leave the pass out"
        )
    ctx.calibration.observe(model, {key: Several(items) for key, items in found.items()})
