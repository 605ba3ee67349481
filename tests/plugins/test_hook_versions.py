"""The version of the hook API grows with the hooks, and hooks only grow."""

from __future__ import annotations

import pytest

from graphopt.hookspecs import HOOK_API_VERSION, OLDEST_HOOK_API_VERSION
from tests.plugins.hook_versions import FOLDER, hooks_of, hooks_text

VERSIONS = range(OLDEST_HOOK_API_VERSION, HOOK_API_VERSION + 1)


def kept(version: int) -> str:
    return (FOLDER / f"{version}.txt").read_text(encoding="utf-8")


def test_a_change_of_hooks_raises_the_version():
    """What the current version has is written down; a hook more is a version more."""
    assert kept(HOOK_API_VERSION) == hooks_text(), (
        "the hooks have changed: raise HOOK_API_VERSION in graphopt/hookspecs.py, run python -m tests.plugins.hook_versions, "
        "and add a fragment to changelog.d"
    )


def test_every_version_has_its_file():
    """None is skipped, and none is there that graphopt does not know yet."""
    assert set(VERSIONS) <= {int(path.stem) for path in FOLDER.glob("*.txt")}
    assert HOOK_API_VERSION == max(int(path.stem) for path in FOLDER.glob("*.txt"))


@pytest.mark.parametrize("version", VERSIONS)
def test_hooks_only_grow(version):
    """Every hook that a supported version had is there, with all of its arguments."""
    now = hooks_of(hooks_text())
    for name, arguments in hooks_of(kept(version)).items():
        assert name in now, f"{name} of version {version} is gone"
        assert arguments <= now[name], f"{name} of version {version} lost {', '.join(arguments - now[name])}"


def test_versions_in_order_of_size():
    assert OLDEST_HOOK_API_VERSION <= HOOK_API_VERSION
