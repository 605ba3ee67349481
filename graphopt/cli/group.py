"""The group of all commands: loads a command when it runs, and turns every end into an exit code and one clear line."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn, TextIO

import typer
from typer.core import TyperCommand, TyperGroup

from graphopt.cli.process import TERMINATED, Terminated, prepare_process
from graphopt.errors import GraphoptError, VerificationError

__all__ = ["COMMANDS", "CommandGroup"]

#: Command, what it does, and ``module:function`` of its implementation. The text stands here too so that help imports none of them;
#: a test holds it equal to the docstring.
COMMANDS = {
    "optimize": (
        "Optimize a model, or several, check each result against its original, and save it.",
        "optimize:optimize",
    ),
    "inspect": ("Show what a model is: interface, operators, weights, cost.", "inspection:inspect"),
    "run": ("Run a model on given or generated inputs.", "execution:run"),
    "compare": ("Compare two models: outputs on the same inputs, and latency.", "comparison:compare"),
    "diff": (
        "Show what is different between two models: nodes by lineage, weights, interface.",
        "difference:diff",
    ),
    "bisect": ("Find the pass, and the rewrite in it, that makes a result wrong.", "bisection:bisect"),
    "replay": (
        "Run again what a reproducer folder holds, and say whether the failure shows again.",
        "replaying:replay",
    ),
    "reduce": ("Make a model that fails as small as possible, with the inputs that show it.", "reduction:reduce"),
    "bench": ("Measure the latency of one or several models, interleaved.", "benchmark:bench"),
    "profile": (
        "Show where the time of a model goes, by kernel and kind of work, and which rewrites would change that.",
        "profiling:profile",
    ),
    "tune": (
        "Find the fastest way to run a model on this machine: how to optimize it, how to set ONNX Runtime.",
        "tuning:tune",
    ),
    "calibrate": (
        "Find the ranges of a model's tensors from data, for quantization.",
        "calibration:calibrate",
    ),
    "quantize": (
        "Store the numbers of a model as integers, where that is accurate enough and faster here.",
        "quantization:quantize",
    ),
    "prune": (
        "Take away what a model needs least: channels, weights or a pattern, recover, and show what that buys.",
        "prune:prune",
    ),
    "build": (
        "Build a TensorRT engine layer by layer, without its ONNX parser; TensorRT-RTX needs no GPU for it.",
        "engine_building:build",
    ),
    "partition": (
        "Show what of a model a target takes, and where it would be cut between the target and ONNX Runtime.",
        "partitioning:partition",
    ),
    "evaluate": (
        "Show how good a model is on data: by labels, or by the outputs of a reference model.",
        "evaluation:evaluate",
    ),
    "demo": (
        "Optimize the digits classifier that ships with graphopt, and show what it brought.",
        "demonstration:demo",
    ),
    "plugin": (
        "Write a package with an operator, a rule, a pass and tests, to start a plugin from.",
        "plugin_new:plugin",
    ),
    "list": ("List what is there: passes, rules, pipelines, targets, backends, plugins or hooks.", "listing:list_"),
}

_WRONG = 1
_BAD_INPUT = 2
_INTERRUPTED = 130
_BUG = 70


def _without_types_of_flags(params: list[Any]) -> list[Any]:
    """Parameters as help shows them: that a flag is a ``<bool>`` tells nobody anything."""
    for param in params:
        if getattr(param, "is_flag", False) and param.metavar is None:
            param.metavar = ""
    return params


#: Options that may stand alone, and what they mean then; a value follows behind ``=``.
_ALONE = {"--remarks": "all"}


class _Command(TyperCommand):
    """A command whose help says no more than it must."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - types of a private module of typer
        """Read the arguments."""
        return super().parse_args(ctx, [f"{item}={_ALONE[item]}" if item in _ALONE else item for item in args])

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - types of a private module of typer
        """All parameters."""
        return _without_types_of_flags(super().get_params(ctx))


class _DeferredCommand(TyperCommand):
    """A command with name and help whose implementation is imported when it runs."""

    def __init__(self, name: str, doc: str, place: str) -> None:
        super().__init__(name, help=doc, callback=None)
        self._place = place

    def make_context(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - types of a private module of typer
        module, _, function = self._place.partition(":")
        single = typer.Typer(add_completion=False, rich_markup_mode="rich")
        implementation = getattr(importlib.import_module(f"graphopt.cli.{module}"), function)
        single.command(self.name, cls=_Command, context_settings=dict(self.context_settings))(implementation)
        return typer.main.get_command(single).make_context(*args, **kwargs)


class CommandGroup(TyperGroup):
    """All commands: those of graphopt, then those of plugins."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - passed through
        super().__init__(*args, **kwargs)
        for name, (doc, place) in COMMANDS.items():
            self.add_command(_DeferredCommand(name, doc, place), name)
        for command in self.commands.values():
            command.context_settings = self.context_settings
        self._plugins_loaded = False

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - types of a private module of typer
        """All parameters."""
        return _without_types_of_flags(super().get_params(ctx))

    def list_commands(self, ctx: object) -> list[str]:
        """Names of all commands; asks plugins for theirs."""
        try:
            self._load_plugins()
        except GraphoptError as err:  # help is shown all the same; `graphopt list plugins` says what is wrong
            _say(str(err), 0)
        return list(self.commands)

    def get_command(self, ctx: object, cmd_name: str) -> Any:  # noqa: ANN401 - a class of a private module of typer
        """A command by name; plugins are asked only for names that graphopt does not have."""
        if cmd_name not in self.commands:
            self._load_plugins()
        return self.commands.get(cmd_name)

    def _load_plugins(self) -> None:
        if self._plugins_loaded:
            return
        self._plugins_loaded = True
        from graphopt.cli.plugin_commands import plugin_commands  # only when asked: looks at what is installed

        for command in plugin_commands(taken=tuple(self.commands)):
            self.add_command(command)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - a class of a private module of typer
        """Run the command that the arguments name."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise typer.Exit(_pipe_closed()) from None

    def main(self, args: Sequence[str] | None = None, *_: object, **options: Any) -> NoReturn:  # noqa: ANN401 - passed through
        """Run a command line and exit with its code."""
        given = list(sys.argv[1:] if args is None else args)
        options["standalone_mode"] = False
        prepare_process(given)
        sys.exit(self._run(given, options))

    def _run(self, args: list[str], options: dict[str, Any]) -> int:
        debug = "--debug" in args or bool(os.environ.get("GRAPHOPT_DEBUG"))
        try:
            code = super().main(args, **options)
            sys.stdout.flush()
        except BrokenPipeError:
            return _pipe_closed()
        except (KeyboardInterrupt, typer.Abort):
            return _say("interrupted", _INTERRUPTED)
        except Terminated:
            return _say("terminated", TERMINATED)
        except typer.TyperException as err:
            code = getattr(err, "exit_code", _BAD_INPUT)
            return _say(_usage(err), code) if err.format_message() else code  # no command: help was shown
        except GraphoptError as err:
            if debug:
                raise
            code = _WRONG if isinstance(err, VerificationError) else _BAD_INPUT
            return _say("; ".join([str(err), *getattr(err, "__notes__", ())]), code)
        except OSError as err:
            if debug:
                raise
            return _say(f"{err.filename or 'the output cannot be written'}: {err.strerror or err}", _BAD_INPUT)
        except MemoryError:
            return _say("out of memory; nothing was written", _BAD_INPUT)
        except Exception as err:  # the last place before the user: any other error is a bug of ours
            if debug:
                raise
            what = f"{type(err).__name__}: {err}".splitlines()[0]
            return _say(
                f"{what} (this is a bug in graphopt; graphopt --debug {' '.join(args)} shows the traceback)", _BUG
            )
        if code == _INTERRUPTED:
            return _say("interrupted", _INTERRUPTED)
        return code if isinstance(code, int) else 0


def _usage(err: typer.TyperException) -> str:
    """What is wrong with a command line, and where help is."""
    message = err.format_message() if hasattr(err, "format_message") else str(err)
    message = message.replace(". Did you mean", "; did you mean")
    context = getattr(err, "ctx", None)
    where = f" {context.command_path.removeprefix('graphopt').strip()}".rstrip() if context is not None else ""
    message = message.rstrip(".")
    return f"{message[:1].lower()}{message[1:]}{'' if message.endswith('?') else ';'} see graphopt{where} --help"


def _say(message: str, code: int) -> int:
    """One line on stderr."""
    from graphopt.report.layout import printable  # only here: imports rich, which a command that ends well may not need

    line = printable(" ".join(message.split("\n")))
    for stream, text in ((sys.stdout, ""), (sys.stderr, f"graphopt: {line}\n")):
        try:
            stream.write(text)
            stream.flush()
        except OSError:  # nobody listens, or the disk is full: the exit code says it
            _discard(stream)
    return code


def _pipe_closed() -> int:
    """Whoever read the output has seen enough; keep the interpreter from complaining when it flushes."""
    _discard(sys.stdout)
    return 0


def _discard(stream: TextIO) -> None:
    """Let what is still to be written to a stream go nowhere."""
    with suppress(OSError, ValueError):  # a stream of a test has no descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
