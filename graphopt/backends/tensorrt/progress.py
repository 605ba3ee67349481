"""What TensorRT does while it builds: told step by step, and stopped at the next step when somebody asks for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["Cancelable", "monitor_of"]

_Result = TypeVar("_Result")
_LOOK_S = 0.2  # a wait without end could not be interrupted on every platform
_BEGIN_S = 1.0


class Cancelable:
    """A call of the library that an interrupt of Python can end.

    The library lets Python run meanwhile, but no signal reaches the thread that waits inside of it, and an exception must not pass through
    it. So it gets a thread of its own; the thread at hand waits, and an interrupt sets a mark that the progress monitor hands over.
    """

    def __init__(self) -> None:
        self._canceled = threading.Event()

    def is_canceled(self) -> bool:
        """Whether the library should stop."""
        return self._canceled.is_set()

    def run(self, call: Callable[[], _Result]) -> _Result:
        """What the call gives.

        Raises:
            BaseException: what it raised, or what interrupted the wait for it, once it has ended. A second interrupt waits no longer.
        """
        if threading.current_thread() is not threading.main_thread():
            return call()  # signals go to the main thread
        results: list[_Result] = []
        errors: list[BaseException] = []
        begun, done = threading.Event(), threading.Event()

        def work() -> None:
            begun.set()
            try:
                if not self.is_canceled():
                    results.append(call())
            except BaseException as err:  # noqa: BLE001  raised in the thread that waits
                errors.append(err)
            finally:
                done.set()

        try:
            threading.Thread(target=work, name="tensorrt-build", daemon=True).start()
            _wait(done)
        except BaseException:
            self._canceled.set()
            if begun.wait(_BEGIN_S):  # else there is no thread: the interrupt was first
                _wait(done)
            raise
        if errors:
            raise errors[0]
        return results[0]


def _wait(done: threading.Event) -> None:
    while not done.wait(_LOOK_S):
        pass


def monitor_of(
    module: Any,  # noqa: ANN401  the library
    tell: Callable[[str], None] | None,
    is_canceled: Callable[[], bool],
) -> Any:  # noqa: ANN401  IProgressMonitor
    """The library's progress monitor, ``None`` where it has none.

    Args:
        module: the library.
        tell: told each step, with the phases that it belongs to.
        is_canceled: asked at each step.
    """
    if not hasattr(module, "IProgressMonitor"):
        return None

    class Monitor(module.IProgressMonitor):  # type: ignore[misc]  # a class of the library
        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)
            self._phases: dict[str, tuple[int, int]] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._phases[phase_name] = (0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            _, steps = self._phases.get(phase_name, (0, 0))
            self._phases[phase_name] = (step + 1, max(steps, step + 1))
            if tell is not None:
                tell(phases_text(self._phases))
            return not is_canceled()

        def phase_finish(self, phase_name: str) -> None:
            self._phases.pop(phase_name, None)

    return Monitor()


def phases_text(phases: dict[str, tuple[int, int]]) -> str:
    """What is going on: the share of the outermost phase that is done, and the innermost one with its steps.

    Example:
        >>> phases_text({"Building engine": (2, 6), "Optimizing graph": (12, 30)})
        'building engine 33 %, optimizing graph 12 of 30'
    """
    names = list(phases)
    done, steps = phases[names[0]]
    text = f"{names[0].lower()} {100 * done // max(steps, 1)} %"
    if len(names) > 1:
        done, steps = phases[names[-1]]
        text += f", {names[-1].lower()} {done} of {steps}"
    return text
