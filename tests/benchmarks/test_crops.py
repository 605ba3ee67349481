"""Crops of photographs are the same on every machine, and other ones for another seed."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest

from benchmarks import crops


def test_crops_are_drawn_by_a_seed() -> None:
    """Pictures of the size that is asked for, with something on them."""
    pytest.importorskip("skimage", reason="photographs of scikit-image")
    one, again, other = crops.crops(6, seed=0), crops.crops(6, seed=0), crops.crops(6, seed=1)
    assert one.shape == (6, 224, 224, 3)
    assert one.dtype == np.uint8
    assert np.array_equal(one, again)
    assert not any(np.array_equal(left, right) for left in one for right in other)
    assert len(crops.photographs()) == 9


def test_pixels_become_what_models_take() -> None:
    """Channels first, about -1 to 1."""
    made = crops.normalized(np.array([[[[0, 127, 255]]]], np.uint8))
    assert made.shape == (1, 3, 1, 1)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made.reshape(-1), [-127 / 128, 0, 1])


@pytest.mark.parametrize("package", ["sklearn.datasets", "skimage"])
def test_a_package_that_is_not_there_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install."""
    found = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name == package:
            raise ImportError(name)
        return found(name, *rest, **more)

    crops.photographs.cache_clear()
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(crops.MissingPhotographsError, match=r"no scikit-(learn|image), so no photographs: pip install"):
        crops.photographs()
