"""Reference pages made from the program itself: passes, rules, options of commands, and the public names of each module.

Each function returns Markdown; `scripts/docs_hooks.py` puts it into the documentation when that is built, so no page can be out of date.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import typer

from graphopt.builtin_plugin import builtin_plugins
from graphopt.cli import app
from graphopt.cli.group import COMMANDS
from scripts.docstring_syntax import markdown_of
from scripts.rule_pictures import picture

__all__ = ["DESCRIBED", "FACADES", "RULES_RECORD", "command_tables", "module_page", "passes_page", "rules_page"]

#: Modules that others may import from, in the order of their layers. A name is described where it belongs, other pages link to it.
FACADES: Final = (
    "graphopt",
    "graphopt.testing",
    "graphopt.ir",
    "graphopt.rewriting",
    "graphopt.passes",
    "graphopt.numerics",
    "graphopt.target",
    "graphopt.analysis",
    "graphopt.serde",
    "graphopt.frontends",
    "graphopt.backends",
    "graphopt.runtime",
    "graphopt.verify",
    "graphopt.plugin_manager",
    "graphopt.builtin_plugin",
    "graphopt.compiler",
)
#: Modules that a page of their own in the documentation describes.
DESCRIBED: Final = ("graphopt.data", "graphopt.errors", "graphopt.hookspecs")
#: What `python -m benchmarks.rules` found: which rule fires on which model, and what it makes of a small graph.
RULES_RECORD: Final = Path(__file__).resolve().parent.parent / "benchmarks" / "results" / "rules.json"
_LEVELS: Final = ("O0", "O1", "O2", "O3")
_SECTION = re.compile(r"^(Attributes|Example|Args|Raises|Returns):", re.MULTILINE)

Row = Mapping[str, Any]


def _rows(kind: str) -> list[Row]:
    return list(builtin_plugins(discover=False).describe(kind))


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table, or nothing if it has no rows."""
    lines = [head, ("---",) * len(head), *rows]
    return (
        "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines) if rows else ""
    )


def _code(text: object) -> str:
    """Code that may stand in a table."""
    return f"<code>{str(text).replace('&', '&amp;').replace('<', '&lt;')}</code>"


def _escaped(text: str) -> str:
    """Formulas as they are: no emphasis between two products."""
    return re.sub(r"([*_<\[\]])", r"\\\1", text)


def _page(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def _levels() -> dict[str, list[str]]:
    """Levels that have a pass, by its name."""
    found: dict[str, list[str]] = {}
    for row in _rows("pipelines"):
        for name in set(row["passes"]) if row["name"] in _LEVELS else ():
            found.setdefault(name, []).append(str(row["name"]))
    return {name: sorted(levels) for name, levels in found.items()}


def passes_page() -> str:
    """All passes that come with graphopt: what each does, its numerics, options, levels and rules."""
    levels, rules = _levels(), _rows("rules")
    parts = [
        "# Passes",
        "What comes with graphopt. `graphopt list passes` shows those of installed plugins as well, `--passes` runs them by name.",
    ]
    for row in _rows("passes"):
        name = str(row["name"])
        own = [str(rule["name"]) for rule in rules if rule["pass"] == name]
        parts += [f"## {name}", _prose(name), _facts(row, levels.get(name, []), own), _options(row)]
    return _page(*parts)


def _prose(name: str) -> str:
    """The docstring of a pass up to its sections."""
    return _before_sections(builtin_plugins(discover=False).passes[name])


def _before_sections(item: object) -> str:
    return markdown_of(_SECTION.split(inspect.getdoc(item) or "")[0].strip())


def _facts(row: Row, levels: list[str], rules: list[str]) -> str:
    facts = [f"* Numerics: {row['numerics']}", f"* Levels: {', '.join(levels) or 'none, it runs where it is named'}"]
    if rules:
        facts.append(f"* Rules: {', '.join(f'[{rule}](rules.md#{rule})' for rule in rules)}")
    return "\n".join(facts)


def _options(row: Row) -> str:
    options = [
        (
            _code(item["name"]),
            _code(item["type"]),
            _code(item["default"]) if item["default"] else "must be stated",
            item["doc"],
        )
        for item in row["options"]
    ]
    return _table(("option", "type", "default", "meaning"), options)


def rules_page() -> str:
    """All rules that come with graphopt: what each looks for and makes of it."""
    levels = _levels()
    parts = [
        "# Rules",
        (
            "What the [passes](passes.md) look for. `graphopt optimize --explain RULE` says where one did not apply, and why;\n"
            "`--disable RULE` leaves it out. A pattern that ends in `...` is the operators at which a rule written in Python begins.\n"
            "Pictures show a generated graph that the rule applies to, and what it makes of it once (`benchmarks/rules.py`)."
        ),
    ]
    record = json.loads(RULES_RECORD.read_text(encoding="utf-8"))["results"]
    rules: dict[str, list[Row]] = {}
    for row in _rows("rules"):
        rules.setdefault(str(row["name"]), []).append(row)
    for name, rows in rules.items():
        passes = [str(row["pass"]) for row in rows]
        within = sorted({level for item in passes for level in levels.get(item, [])})
        facts = [
            f"* Numerics: {rows[0]['numerics']}",
            f"* Passes: {', '.join(f'[{item}](passes.md#{item})' for item in passes)}",
            f"* Levels: {', '.join(within) or 'none'}",
        ]
        facts.append(f"* Fires on: {_models(record['fires'], name)}")
        drawn = record["pictures"].get(name)
        shown = "" if drawn is None else picture(drawn["before"], drawn["after"])
        parts += [
            f"## {name}",
            _escaped(str(rows[0]["doc"])),
            f"```text\n{rows[0]['pattern']}\n```",
            "\n".join(facts),
            shown,
        ]
    return _page(*parts)


def _models(fires: Mapping[str, Mapping[str, Mapping[str, int]]], rule: str) -> str:
    """The models of the benchmark on which a rule fires at O3, those first on which it does most."""
    counts = fires["O3"].get(rule, {})
    found = [f"{model} ({count})" for model, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    if not found:
        return "none of the models measured"
    return ", ".join(found[:8]) + (f" and {len(found) - 8} more" if len(found) > 8 else "")


def command_tables(name: str) -> str:
    """Arguments and options of a command as its help has them, a table for each group of them."""
    group: Any = typer.main.get_command(app)
    command = group.get_command(None, name)
    if name in COMMANDS:
        command = command.make_context(name, ["x"] * 9, resilient_parsing=True).command
    return _page(*_command_parts(command)).strip()


def _command_parts(command: Any) -> Iterator[str]:  # noqa: ANN401 - types of a private module of typer
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    yield _table(
        ("argument", "meaning"), [(_code(item.metavar or item.name.upper()), item.help or "") for item in arguments]
    )
    panels: dict[str, list[tuple[str, ...]]] = {}
    for item in command.params:
        if item.param_type_name == "option" and not item.hidden:
            panels.setdefault(item.rich_help_panel or "", []).append((_spelling(item), _meaning(item)))
    for panel, rows in panels.items():
        yield f"**{panel}**" if panel else ""
        yield _table(("option", "meaning"), rows)
    for name, inner in getattr(command, "commands", {}).items():
        yield f"### {name}"
        yield inner.help or ""
        yield from _command_parts(inner)


def _spelling(item: Any) -> str:  # noqa: ANN401 - types of a private module of typer
    names = ", ".join(_code(name) for name in (*item.opts, *item.secondary_opts))
    return names if item.is_flag or not item.metavar else f"{names} {_code(item.metavar)}"


def _meaning(item: Any) -> str:  # noqa: ANN401 - types of a private module of typer
    text = item.help or ""
    if item.show_default is False or item.default is None or item.is_flag or "default" in text.lower():
        return text
    return f"{text} Default: {_code(item.default)}."


def module_page(module_name: str) -> str:
    """The public names of a module, for mkdocstrings to describe those that belong to it."""
    module = importlib.import_module(module_name)
    parts, elsewhere = [f"# {module_name}", _before_sections(module)], []
    for name in sorted((name for name in module.__all__ if not name.startswith("__")), key=str.lower):
        home = _home(getattr(module, name), module_name)
        if home == module_name:
            parts.append(f"::: {module_name}.{name}" + _how(getattr(module, name)))
        else:
            elsewhere.append((f"[`{name}`][{home}.{name}]", _summary(getattr(module, name)), f"`{home}`"))
    return _page(*parts[:2], _table(("name", "", "described in"), elsewhere), *parts[2:])


def _home(item: object, module_name: str) -> str:
    """The page that describes an object."""
    if not (inspect.isclass(item) or inspect.isfunction(item)) or not item.__module__.startswith("graphopt"):
        return module_name
    owner = item.__module__
    homes = [
        home
        for home in (*FACADES, *DESCRIBED)
        if owner == home or (home != "graphopt" and owner.startswith(f"{home}."))
    ]
    homes = [home for home in homes if getattr(importlib.import_module(home), item.__name__, None) is item]
    return max(homes, key=len, default=module_name)


def _how(item: object) -> str:
    """Constants have no docstring, and are shown all the same."""
    if inspect.isclass(item) or inspect.isfunction(item):
        return ""
    return "\n    options:\n      show_if_no_docstring: true"


def _summary(item: object) -> str:
    return markdown_of((inspect.getdoc(item) or "").split("\n\n")[0]).replace("\n", " ")
