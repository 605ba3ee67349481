"""The search for the wrong rewrite."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.rewriting import Applications
from graphopt.verify import find_culprit, repair


class Pipeline:
    """A pipeline that adds one number for each rewrite; the wrong ones are those that a check refuses."""

    def __init__(self, sites: int) -> None:
        self.sites = sites
        self.runs = 0

    def __call__(self, applications: Applications) -> list[int]:
        self.runs += 1
        applications.pass_name = "p"
        done = []
        for site in range(self.sites):
            if applications.admits("rule", f"v{site}"):
                applications.record("rule", f"v{site}")
                done.append(site)
        return done


@given(st.integers(1, 300), st.data())
def test_the_first_wrong_rewrite_is_found_in_a_logarithm_of_runs(sites, data):
    wrong = data.draw(st.sets(st.integers(0, sites - 1), min_size=1, max_size=5))
    pipeline = Pipeline(sites)
    found = find_culprit(pipeline, lambda done: not wrong & set(done), total=sites)
    assert found.application is not None
    assert (min(wrong) + 1, "rule", f"v{min(wrong)}", "p") == (
        found.application.number,
        found.application.rule,
        found.application.site,
        found.application.pass_name,
    )
    assert pipeline.runs == found.runs
    assert found.runs <= 2 + math.ceil(math.log2(sites + 1))


@given(st.integers(1, 60), st.data())
def test_all_wrong_rewrites_are_left_out_and_nothing_else(sites, data):
    wrong = data.draw(st.sets(st.integers(0, sites - 1), max_size=5))
    pipeline = Pipeline(sites)
    found = repair(pipeline, lambda done: not wrong & set(done))
    assert found.ok
    assert sorted(set(range(sites)) - wrong) == found.result
    assert [f"v{site}" for site in sorted(wrong)] == [
        culprit.application.site for culprit in found.culprits if culprit.application
    ]
    assert pipeline.runs == found.runs


def test_a_result_that_is_wrong_from_the_start_blames_no_rewrite():
    found = find_culprit(Pipeline(9), lambda done: False)
    assert (None, 1) == (found.application, found.runs)
    assert "wrong before the first rewrite" in str(found)
    repaired = repair(Pipeline(9), lambda done: False)
    assert not repaired.ok


def test_a_failure_that_does_not_come_again_blames_no_rewrite():
    found = find_culprit(Pipeline(9), lambda done: True, total=9)
    assert found.application is None
    assert "did not show again" in str(found)


def test_without_a_total_the_whole_pipeline_runs_once_to_learn_it():
    found = find_culprit(Pipeline(9), lambda done: 4 not in done)
    assert "#5 rule at 'v4' (pass p)" == str(found)


@pytest.mark.parametrize("most", [0, 2])
def test_repair_gives_up_after_a_number_of_rewrites(most):
    found = repair(Pipeline(9), lambda done: len(done) < 3, most=most)
    assert (False, most) == (found.ok, len(found.culprits))


def test_two_rewrites_that_are_wrong_only_together():
    found = repair(Pipeline(9), lambda done: not {2, 6} <= set(done))
    assert found.ok
    assert ["v6"] == [culprit.application.site for culprit in found.culprits if culprit.application]
