"""Settings of a session, as data and in TOML files."""

from __future__ import annotations

import pytest

from graphopt.errors import PipelineError
from graphopt.passes import SessionSettings, read_pipeline_file
from tests.passes.sample_passes import registry


def test_only_what_is_stated_is_spelled() -> None:
    settings = SessionSettings(threads=2, spinning=False, optimization="basic")
    assert {"threads": 2, "optimization": "basic", "spinning": False} == settings.to_dict()
    assert "threads=2, optimization=basic, spinning=false" == str(settings)
    assert "defaults" == str(SessionSettings())


def test_the_second_settings_hold_where_both_state_something() -> None:
    merged = SessionSettings(threads=2, arena=False).merged(SessionSettings(threads=4, spinning=True))
    assert SessionSettings(threads=4, arena=False, spinning=True) == merged


def test_a_file_holds_them_beside_the_pipeline(tmp_path) -> None:
    path = tmp_path / "tuned.toml"
    path.write_text('level = "O2"\ndisable = ["drop-one"]\n[session]\nthreads = 2\nexecution = "parallel"\n')
    found = read_pipeline_file(path)
    assert SessionSettings(threads=2, execution="parallel") == found.session
    assert "eliminate-double-neg,fixpoint(eliminate-double-neg)" == found.build(registry()).to_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[session]\nthreads = 0", "session.threads: expected int >= 1"),
        ("[session]\nspining = true", "section [session] has no 'spining'; did you mean 'spinning'?"),
        ("[session]\noptimization = 'most'", "session.optimization: invalid enum value 'most'"),
        ("level = 'O2'\ndisable = ['drop-two']", "disable: unknown pass 'drop-two'; did you mean 'drop-one'?"),
        ("disable = 'drop-one'", "disable: expected array, got str"),
    ],
)
def test_mistakes_name_the_place(tmp_path, text, message) -> None:
    path = tmp_path / "tuned.toml"
    path.write_text(text)
    with pytest.raises(PipelineError) as caught:
        read_pipeline_file(path).build(registry())
    assert message in str(caught.value)
