"""Plugins add commands and sections of the report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

import pytest
import typer
from typer.testing import CliRunner

from graphopt import hookimpl
from graphopt.builtin_plugin import builtin_plugins
from graphopt.cli.application import app
from graphopt.cli.group import CommandGroup
from graphopt.cli.plugin_commands import plugin_commands
from graphopt.data import digits_model
from graphopt.errors import PluginError
from graphopt.plugin_manager import PluginManager, ReportSection

runner = CliRunner(env={"COLUMNS": "160"})
MODEL = str(digits_model())


class Vendor:
    """Brings a command under some name."""

    def __init__(self, command: str) -> None:
        self.command = command

    @hookimpl
    def graphopt_cli(self, app: typer.Typer) -> None:
        """A command that says hello."""

        @app.command(self.command)
        def hello(name: str) -> None:
            """Say hello to a chip."""
            typer.echo(f"hello {name}")


@pytest.fixture
def with_command(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], typer.Typer]:
    """An application for which a plugin with a command is installed."""

    def made(command: str) -> typer.Typer:
        def manager() -> PluginManager:
            found = PluginManager(discover=False)
            found.register(Vendor(command), name="vendor")
            return found

        monkeypatch.setattr("graphopt.cli.plugin_commands.entry_points", lambda group: ["vendor"])
        monkeypatch.setattr("graphopt.cli.plugin_commands._manager", manager)
        fresh = typer.Typer(cls=CommandGroup, name="graphopt")
        fresh.callback()(lambda: None)
        return fresh

    return made


def test_command_of_a_plugin_runs_and_is_listed(with_command: Callable[[str], typer.Typer]) -> None:
    """It is there beside the built-in ones."""
    fresh = with_command("hello")
    assert (0, "hello chip\n") == (
        (shown := runner.invoke(fresh, ["hello", "chip"])).exit_code,
        shown.stdout,
    )
    assert "Say hello to a chip" in runner.invoke(fresh, ["--help"]).stdout


def test_command_that_is_taken_is_an_error_but_help_goes_on(with_command: Callable[[str], typer.Typer]) -> None:
    """The name is told on stderr; help shows what graphopt has."""
    fresh = with_command("inspect")
    shown = runner.invoke(fresh, ["--help"])
    assert 0 == shown.exit_code
    assert f"command 'inspect' of plugin module {__name__!r} is one of graphopt; rename it there" in shown.stderr
    assert "Show what a model is" in shown.stdout
    assert 2 == runner.invoke(with_command("inspect"), ["nothing"]).exit_code


def test_command_of_two_plugins_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither silently takes the place of the other."""

    def manager() -> PluginManager:
        found = PluginManager(discover=False)
        found.register(Vendor("hello"), name="one")
        found.register(Vendor("hello"), name="two")
        return found

    monkeypatch.setattr("graphopt.cli.plugin_commands._manager", manager)
    monkeypatch.setattr("graphopt.cli.plugin_commands.entry_points", lambda group: ["something"])
    with pytest.raises(PluginError, match="command 'hello' is registered by both plugin modules"):
        plugin_commands(taken=())


class Sections:
    """Adds to the report."""

    def __init__(self, make: Callable[[Mapping[str, object]], str | None]) -> None:
        self.make = make

    @hookimpl
    def graphopt_report_sections(self) -> list[ReportSection]:
        """One section."""
        return [ReportSection("Fit for the chip", self.make)]


def with_section(monkeypatch: pytest.MonkeyPatch, make: Callable[[Mapping[str, object]], str | None]) -> None:
    def plugins(blocked: Sequence[str] = ()) -> PluginManager:
        found = builtin_plugins(blocked)
        found.register(Sections(make), name="vendor")
        return found

    monkeypatch.setattr("graphopt.cli.optimize.builtin_plugins", plugins)


def test_section_of_a_plugin_is_in_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """It sees the report as plain values; people and machines see what it says."""
    with_section(monkeypatch, lambda report: f"{report['nodes_after']} nodes fit")
    report = json.loads(runner.invoke(app, ["optimize", MODEL, "--no-check", "--json"]).stdout)
    assert {"Fit for the chip": f"{report['nodes_after']} nodes fit"} == report["sections"]
    shown = runner.invoke(app, ["optimize", MODEL, "--no-check"])
    assert f"Fit for the chip\n{report['nodes_after']} nodes fit\n" in shown.stdout


def test_section_that_fails_names_its_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, with the way around it."""
    with_section(monkeypatch, lambda report: str(report["no such field"]))
    shown = runner.invoke(app, ["optimize", MODEL, "--no-check"])
    assert (2, 1) == (shown.exit_code, shown.stderr.count("\n"))
    assert "plugin 'vendor' failed in its report section 'Fit for the chip': KeyError" in shown.stderr


@pytest.mark.parametrize("stated", [True, False], ids=["named-when-added", "named-itself"])
def test_a_group_of_commands_can_not_take_a_name_that_is_there(stated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group is told apart by the name it is added with, or its own."""

    def extend(app: typer.Typer) -> None:
        group = typer.Typer(name="other" if stated else "inspect")
        group.command("hello")(lambda: None)
        app.add_typer(group, name="inspect") if stated else app.add_typer(group)

    class Manager:
        extend_cli = staticmethod(extend)

    monkeypatch.setattr("graphopt.cli.plugin_commands._manager", Manager)
    monkeypatch.setattr("graphopt.cli.plugin_commands.entry_points", lambda group: ["something"])
    with pytest.raises(PluginError, match=f"command 'inspect' of plugin module {__name__!r} is one of graphopt"):
        plugin_commands(taken=("inspect",))
    assert [("inspect")] == [command.name for command in plugin_commands(taken=())]
