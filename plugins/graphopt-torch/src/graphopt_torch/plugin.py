"""What graphopt loads: the commands ``graphopt torch names|export|import``."""

from graphopt import hookimpl

GRAPHOPT_API_VERSION = 1


@hookimpl
def graphopt_cli(app):
    """The group ``graphopt torch``."""
    from graphopt_torch.command import commands  # lazily: imports typer

    app.add_typer(commands, name="torch")
