"""The loader of the ONNX backend suite and the committed list of what ONNX Runtime runs correctly."""

from __future__ import annotations

import onnx
import onnxruntime as ort
import pytest

from tests.onnx_suite import ORT_CORRECT_FILE, load_cases, ort_correct_names, ort_runs_correctly


def test_names_are_unique_and_complete() -> None:
    """The suite of onnx 1.23 has 2,024 model cases, each under its own name, each with data."""
    cases = load_cases()
    assert all(case.data_sets for case in cases)
    assert len({case.name for case in cases}) == len(cases)
    if onnx.__version__.startswith("1.23."):
        assert len(cases) == 2024


def test_committed_list_is_what_onnx_runtime_runs_correctly() -> None:
    """Each listed case, and no other, gives the expected numbers in the ONNX Runtime that the list names."""
    header = ORT_CORRECT_FILE.read_text(encoding="utf-8").splitlines()[0]
    if f"onnx {onnx.__version__} " not in header or f"ONNX Runtime {ort.__version__} " not in header:
        pytest.skip(f"the list is of other versions: {header}")
    assert sorted(case.name for case in load_cases() if ort_runs_correctly(case)) == ort_correct_names()
