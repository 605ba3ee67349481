"""The pytest plugin of graphopt, active wherever graphopt is installed; it imports nothing heavy until a test asks for something.

=====================================  =======================================================================================
``@pytest.mark.graphopt_pass(...)``    the test runs once for each pass that is named; options go to ``check_pass``
fixture ``graphopt_report``            the report of ``check_pass`` on the pass of the test: all laws, on models that are drawn
fixture ``graphopt_pass``              the pass of the test, for asserts of one's own
fixture ``graphopt_golden``            ``assert_golden`` for files beside the test
``--update-golden``                    write golden files anew
``--graphopt-profile NAME``            Hypothesis profile: ``ci``, ``nightly``, or any that is registered
``--graphopt-failures DIR``            where models that break a law are saved, ``.graphopt-failures`` by default; ``""`` saves none
=====================================  =======================================================================================

Give the marker passes, rules or names, not a class alone: pytest takes a lone class for what is to be marked.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from graphopt.testing import Checked, CheckReport
    from graphopt.testing.oracles.subject import Testable

__all__: list[str] = []

_MARK: Final = "graphopt_pass"
_FIXTURES: Final = frozenset(("graphopt_pass", "graphopt_report"))
_LAW: Final = "graphopt.testing.oracles.law"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options."""
    group = parser.getgroup("graphopt", "passes of graphopt")
    group.addoption("--update-golden", action="store_true", help="write the golden files of graphopt_golden anew")
    group.addoption(
        "--graphopt-profile",
        metavar="NAME",
        default=os.environ.get("GRAPHOPT_PROFILE", ""),
        help="Hypothesis profile to load: ci (same examples on each run), nightly (many, others on each run), or one of your own; "
        "$GRAPHOPT_PROFILE by default",
    )
    group.addoption(
        "--graphopt-failures",
        metavar="DIR",
        default=".graphopt-failures",
        help="where to save models that break a law, relative to the root folder; empty to save none",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, and load the profile that is asked for."""
    config.addinivalue_line(
        "markers",
        f"{_MARK}(*passes, **options): run the test once for each pass (name, pipeline text, pass or rule); the options are those of "
        "graphopt.testing.check_pass",
    )
    name = config.getoption("--graphopt-profile")
    if name:
        _load_profile(name)


def _load_profile(name: str) -> None:
    """Load a Hypothesis profile; those of graphopt are registered now, and none of somebody else is replaced."""
    try:
        from hypothesis import HealthCheck, settings  # lazily: most test runs are not about graphopt
        from hypothesis.errors import InvalidArgument
    except ModuleNotFoundError as err:
        raise pytest.UsageError("--graphopt-profile needs hypothesis; run: pip install 'graphopt[testing]'") from err
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    own = {
        "ci": settings(derandomize=True, deadline=None, max_examples=100, suppress_health_check=slow),
        "nightly": settings(derandomize=False, deadline=None, max_examples=2000, suppress_health_check=slow),
    }
    for short, profile in own.items():
        settings.register_profile(f"graphopt-{short}", profile)
        try:
            settings.get_profile(short)
        except InvalidArgument:
            settings.register_profile(short, profile)
    try:
        settings.get_profile(name)
    except InvalidArgument as err:
        raise pytest.UsageError(
            f"--graphopt-profile: there is no Hypothesis profile {name!r}; there are ci, nightly and those that a conftest.py registers"
        ) from err
    settings.load_profile(name)


# -- the marker -------------------------------------------------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each pass of the marker."""
    mark = metafunc.definition.get_closest_marker(_MARK)
    asked = _FIXTURES.intersection(metafunc.fixturenames)
    where = metafunc.definition.nodeid
    if mark is None and asked:
        raise pytest.UsageError(f"{where}: fixture {min(asked)!r} needs @pytest.mark.{_MARK}(...) with a pass")
    if mark is None:
        return
    if not mark.args or not asked:
        missing = "names no pass" if not mark.args else "has neither the argument graphopt_report nor graphopt_pass"
        raise pytest.UsageError(f"{where}: is marked {_MARK}, but {missing}")
    metafunc.parametrize("graphopt_pass", mark.args, ids=[_name(item) for item in mark.args], scope="function")


def _name(item: object) -> str:
    return str(item if isinstance(item, str) else getattr(item, "name", None) or getattr(item, "__name__", "pass"))


@pytest.fixture
def graphopt_pass(request: pytest.FixtureRequest) -> Testable:
    """The pass of a test that is marked ``graphopt_pass``."""
    found: Testable = request.param
    return found


@pytest.fixture
def graphopt_report(request: pytest.FixtureRequest, graphopt_pass: Testable) -> CheckReport:
    """What ``check_pass`` says about the pass of the test; a broken law fails the test."""
    from graphopt.testing import check_pass  # lazily: imports ONNX Runtime and Hypothesis

    mark = request.node.get_closest_marker(_MARK)
    return check_pass(graphopt_pass, **mark.kwargs)


# -- golden files -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def graphopt_golden(request: pytest.FixtureRequest) -> Callable[..., Checked]:
    """``assert_golden`` for files beside the test, which ``--update-golden`` writes."""
    from graphopt.testing import assert_golden  # lazily: imports ONNX Runtime

    update = bool(request.config.getoption("--update-golden"))

    def check(path: str | os.PathLike[str], testable: Testable | None = None, *, target: str = "onnx") -> Checked:
        return assert_golden(request.path.parent / path, testable, update=update, target=target)

    return check


# -- failures ---------------------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Save the model that broke a law, and say in the report where it is."""
    report = yield
    if call.excinfo is None or _LAW not in sys.modules:
        return report
    stated = item.config.getoption("--graphopt-failures")
    if not stated or not report.failed:
        return report
    from graphopt.errors import OutputError  # lazily: only when a test failed
    from graphopt.testing.failures import broken_laws, save_failure

    folder = item.config.rootpath / Path(stated)
    for broken in broken_laws(call.excinfo.value):
        try:
            said = save_failure(broken, folder, item.nodeid)
        except OutputError as err:
            said = str(err)
        report.sections.append(("graphopt", said))
    return report
