"""``graphopt bench --fit``: the cost model fitted to this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from graphopt.backends.onnx.atomic import check_output, new_files
from graphopt.cli.options import UsageError
from graphopt.cli.terminal import progress, show, write_json
from graphopt.compiler.cost_fitting import cost_file, fit_cost_model
from graphopt.compiler.environment import Environment
from graphopt.compiler.feeding import feeds_of_model
from graphopt.errors import OutputError
from graphopt.report.cost_view import fit_view
from graphopt.runtime.base import Feeds

__all__ = ["fit"]

_LEAST_SECONDS = 0.2


def fit(
    models: Sequence[Path],
    *,
    environment: Environment,
    inputs: Path | None,
    seed: int,
    sizes: Mapping[str, int],
    threads: int,
    seconds: float,
    output: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Fit coefficients, save and show them.

    Raises:
        UsageError: if inputs are given for several models.
        OutputError: if a file is there that may not be replaced.
    """
    if inputs is not None and len(models) != 1:
        raise UsageError("--inputs is for one model; name one with --fit, or leave it out")
    place = cost_file() if output is None else check_output(output, force=force)
    with progress("fitting", wanted=not as_json) as tell:

        def feeds(path: Path) -> Feeds:
            return feeds_of_model(path, environment=environment, inputs=inputs, seed=seed, sizes=sizes)

        given: dict[str, Callable[[], Feeds]] = {str(path): partial(feeds, path) for path in models}
        each = max(_LEAST_SECONDS, seconds / max(len(models), 1))
        costs = fit_cost_model(given, threads=threads, seconds=each, progress=tell)
    if output is None:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise OutputError(
                f"folder {str(place.parent)!r} can't be made: {err.strerror or err}; name a file with --coefficients"
            ) from err
    with new_files([place]) as [file]:
        file.write(costs.to_json())
    if as_json:
        write_json({"file": str(place), "coefficients": costs})
    else:
        show(fit_view(costs, str(place)))
