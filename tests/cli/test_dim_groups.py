"""``graphopt inspect --dim-groups``."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from graphopt.cli import app
from graphopt.data import digits_model

runner = CliRunner(env={"COLUMNS": "160"})
MODEL = str(digits_model())


def test_groups_with_their_sizes_and_what_freezes_them() -> None:
    shown = runner.invoke(app, ["inspect", MODEL, "--dim-groups"])
    assert (0, "") == (shown.exit_code, shown.stderr)
    assert "can be pruned" in shown.stdout
    assert "it is an axis of an output: " in shown.stdout
    found = json.loads(runner.invoke(app, ["inspect", MODEL, "--dim-groups", "--json"]).stdout)
    groups = found["groups"]
    free = [group for group in groups if not group["frozen"]]
    assert f"{len(groups)} groups, {len(free)} can be pruned" in shown.stdout
    assert all(group["producers"] and group["consumers"] and group["size"] > 1 for group in free)
    assert 0 < found["parameters_in_free_groups"] <= found["parameters"]
    assert [("conv1.weight", 16), ("conv2.weight", 32)] == [(group["name"], group["size"]) for group in free]
    assert {"why": "it is an axis of an output", "where": "logits"} in [
        reason for group in groups for reason in group["frozen"]
    ]


def test_one_view_at_a_time() -> None:
    shown = runner.invoke(app, ["inspect", MODEL, "--dim-groups", "--cost"])
    assert shown.exit_code == 2
    assert "leave one out" in shown.stderr
