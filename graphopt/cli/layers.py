"""``graphopt compare --by-layer``: where the error starts and how it grows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from graphopt.backends.onnx.atomic import check_output, new_files
from graphopt.cli.terminal import progress, show, write_json
from graphopt.compiler.artifacts import DEFAULT_BACKEND, RunnableFile
from graphopt.compiler.environment import Environment
from graphopt.report.layers_page import layers_page
from graphopt.report.layers_view import layers_document, layers_view
from graphopt.runtime.base import Feeds
from graphopt.verify.attribution import LayerOptions, compare_layers

__all__ = ["LayerOutput", "compare_by_layer"]

_SAME, _DIFFERENT = 0, 1


@dataclass(frozen=True, slots=True)
class LayerOutput:
    """What is written.

    Attributes:
        page: where the HTML page goes, ``None`` for none.
        force: whether it may replace a file.
        as_json: JSON instead of tables.
        quiet: neither.
        inputs: what the inputs are, where it is known better than by who compares.
    """

    page: Path | None
    force: bool
    as_json: bool
    quiet: bool
    inputs: str = ""


def compare_by_layer(
    one: Path,
    two: Path,
    environment: Environment,
    *,
    inputs: Path | Feeds | None,
    options: LayerOptions,
    output: LayerOutput,
) -> int:
    """Compare two models value by value, and write what was found.

    Args:
        one: the model to compare with.
        two: the other one.
        environment: reads models.
        inputs: a file, or arrays by name; drawn when ``None``.
        options: tolerance, seed, memory.
        output: what is written.
    """
    place = None if output.page is None else check_output(output.page, force=output.force)
    with (
        progress(f"comparing {one} and {two} by layer", wanted=not (output.quiet or output.as_json)) as tell,
        RunnableFile(one, DEFAULT_BACKEND, environment) as first,
        RunnableFile(two, DEFAULT_BACKEND, environment) as second,
    ):
        found = compare_layers(first.path, second.path, inputs=inputs, options=options, progress=tell)
    if output.inputs:
        found = replace(found, inputs=output.inputs)
    if place is not None:
        text = layers_page(found, before=one.name, after=two.name)
        with new_files([place]) as [file]:
            file.write(text.encode("utf-8", "xmlcharrefreplace"))
    if output.as_json:
        write_json(layers_document(found))
    elif not output.quiet:
        show(layers_view(found))
    return _SAME if found.ok else _DIFFERENT
