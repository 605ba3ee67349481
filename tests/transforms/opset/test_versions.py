"""Each change of an operator that is none of words has an adapter, up to the newest opset that was read."""

from __future__ import annotations

import onnx.defs
import pytest

from graphopt.transforms.opset import RaiseOpset
from graphopt.transforms.opset.change import ADAPTERS
from graphopt.transforms.opset.versions import OLDEST, REVIEWED, crossed, is_free, newest_raisable

#: Versions whose schemas look alike and that mean something else all the same, or ask for what was not needed before.
LOOK_FREE = {
    ("Dropout", 10),
    ("GroupNormalization", 21),
    ("Resize", 13),
    ("Resize", 18),
    ("RoiAlign", 16),
    ("Split", 18),
}


def versions():
    """Operators of the default domain with the versions that a model may be raised over."""
    assert RaiseOpset.name, "its module registers the adapters"
    found: dict[str, set[int]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if not schema.domain and OLDEST < schema.since_version <= REVIEWED:
            found.setdefault(schema.name, set()).add(schema.since_version)
    return {
        (name, version)
        for name, some in found.items()
        for version in some
        if onnx.defs.has(name, version - 1, "") and name not in ("Adagrad", "Adam", "Gradient", "Momentum")
    }


def test_every_change_is_free_or_has_an_adapter():
    known = {(name, version) for name, entry in ADAPTERS.items() for version in entry.versions}
    assert {(name, version) for name, version in versions() if not is_free(name, version)} | LOOK_FREE == known


def test_versions_that_look_free_do():
    assert all(is_free(name, version) for name, version in LOOK_FREE)


@pytest.mark.parametrize(
    ("op_type", "old", "new", "expected"),
    [
        ("Relu", 7, 20, (13, 14)),
        ("Relu", 14, 20, ()),
        ("Gelu", 17, 20, (20,)),
        ("Upsample", 7, 13, (9, 10)),
        ("NoSuchOperator", 7, 20, ()),
    ],
)
def test_versions_between(op_type, old, new, expected):
    assert expected == crossed(op_type, old, new)


def test_the_newest_is_what_onnx_the_review_and_the_target_know():
    assert 20 == newest_raisable(20)
    assert newest_raisable() == min(REVIEWED, onnx.defs.onnx_opset_version())
