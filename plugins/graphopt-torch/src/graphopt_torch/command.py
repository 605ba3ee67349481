"""``graphopt torch names|export|import``: parameters out of a model and into it, by files."""

from pathlib import Path
from typing import Annotated

import typer

import graphopt
from graphopt.passes import PruningPlan
from graphopt_torch.files import read_state, write_state
from graphopt_torch.matching import match_weights
from graphopt_torch.names import WeightNames
from graphopt_torch.states import from_state_dict, to_state_dict

__all__ = ["commands"]

commands = typer.Typer(
    name="torch", help="Take weights to PyTorch and back, by the names of parameters.", no_args_is_help=True
)

_Model = Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The model.")]
_State = Annotated[Path, typer.Argument(metavar="STATE", help="Parameters: .pt of module.state_dict(), or .npz.")]
_Names = Annotated[Path, typer.Option("--names", metavar="NAMES.json", help="What graphopt torch names wrote.")]
_Plan = Annotated[Path | None, typer.Option("--plan", metavar="PLAN.json", help="The plan of what was pruned.")]
_Force = Annotated[bool, typer.Option("--force", "-f", help="Replace a file that is there.")]


@commands.command("names")
def names_command(
    model: _Model,
    state: _State,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="NAMES.json", help="Where to write them.")],
    plan: _Plan = None,
    force: _Force = False,
) -> None:
    """Find which parameter each weight is. MODEL and STATE are as they were exported, before anything was trained on."""
    found = match_weights(str(model), read_state(state), plan)
    found.save(output, force=force)
    typer.echo(found.summary())
    typer.echo(f"written to {output}")


@commands.command("export")
def export_command(
    model: _Model,
    state: _State,
    names: _Names,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="PRUNED", help="Where to write parameters: .pt or .npz.")
    ],
    plan: _Plan = None,
    force: _Force = False,
) -> None:
    """Write the weights of a pruned MODEL as parameters. STATE is as it was exported."""
    loaded = None if plan is None else PruningPlan.load(plan)
    found = to_state_dict(str(model), read_state(state), WeightNames.load(names), loaded)
    write_state(output, found, force=force)
    typer.echo(f"{len(found)} parameters written to {output}")


@commands.command("import")
def import_command(
    model: _Model,
    state: _State,
    names: _Names,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="TUNED.onnx", help="Where to write the model.")],
    force: _Force = False,
) -> None:
    """Write MODEL with the weights of STATE, which was trained on."""
    found = WeightNames.load(names)
    tuned = from_state_dict(str(model), read_state(state), found)
    graphopt.optimize(tuned, level="O0", target="onnx", check=False).save(output, force=force)
    typer.echo(f"{len(found.sources)} weights written to {output}")
