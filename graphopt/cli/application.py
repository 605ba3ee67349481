"""The application: global options, and the table of commands with the modules they live in."""

from __future__ import annotations

from typing import Annotated

import typer

from graphopt.cli.group import CommandGroup
from graphopt.cli.process import clean_up_on_termination

__all__ = ["app", "main"]

app = typer.Typer(
    name="graphopt",
    cls=CommandGroup,
    help="Optimize ONNX models with passes that anyone can write, prove and ship.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # only here: takes longer than the rest of the start

        typer.echo(f"graphopt {version('graphopt')}")
        raise typer.Exit


@app.callback()
def _options(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="GRAPHOPT_DEBUG", help="Show log messages, and the traceback of an error.")
    ] = False,
) -> None:
    ctx.obj = debug
    if debug:
        import logging  # only here: not needed to show help

        logging.basicConfig(level=logging.DEBUG, format="%(name)s: %(message)s")
        logging.getLogger("graphopt").setLevel(logging.DEBUG)


def main() -> None:
    """Run the command line and exit; what the script ``graphopt`` calls."""
    clean_up_on_termination()
    app(prog_name="graphopt")
