"""Pictures to quantize image classifiers with: crops of the photographs that scikit-learn and scikit-image ship.

Both packages have them inside their wheels, so nothing is fetched. Crops are drawn by a seed, the same on every machine; those of
two seeds differ, so one seed calibrates and another one judges. scikit-image comes with the `bench` extra.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["MissingPhotographsError", "crops", "normalized", "photographs"]

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
#: Photographs in colour of `skimage.data`, all in its wheel.
_NAMES: Final = ("astronaut", "cat", "coffee", "hubble_deep_field", "immunohistochemistry", "retina", "rocket")


class MissingPhotographsError(Exception):
    """A package that has the photographs is not installed."""


def crops(count: int, *, seed: int, size: int = 224) -> Pixels:
    """Square crops of the photographs, mirrored half of the time.

    Args:
        count: how many.
        seed: draws photographs and places; each photograph is as likely as another.
        size: pixels of a side.

    Returns:
        uint8 [count, size, size, 3].

    Raises:
        MissingPhotographsError: if scikit-learn or scikit-image is not there.
    """
    rng = np.random.default_rng(seed)
    pictures = [picture for picture in photographs() if min(picture.shape[:2]) >= size]
    made = np.empty((count, size, size, 3), np.uint8)
    for place in range(count):
        picture = pictures[int(rng.integers(len(pictures)))]
        top, left = (int(rng.integers(picture.shape[axis] - size + 1)) for axis in (0, 1))
        crop = picture[top : top + size, left : left + size]
        made[place] = crop[:, ::-1] if rng.random() < 0.5 else crop
    return made


def normalized(pixels: Pixels, *, mean: float = 127.0, std: float = 128.0) -> Floats:
    """Pixels as most exports of EfficientNet-Lite take them: float32 [N, 3, H, W] of about -1 to 1.

    Args:
        pixels: uint8 [N, H, W, 3].
        mean: is taken away.
        std: divides the rest.
    """
    return np.ascontiguousarray(((pixels.astype(np.float32) - mean) / std).transpose(0, 3, 1, 2))


@cache
def photographs() -> tuple[Pixels, ...]:
    """The photographs, uint8 [H, W, 3] each: two of scikit-learn and seven of scikit-image.

    Raises:
        MissingPhotographsError: if one of the packages is not there.
    """
    return tuple(_load())


def _load() -> Iterator[Pixels]:
    try:
        from sklearn.datasets import load_sample_images
    except ImportError as err:
        raise MissingPhotographsError("no scikit-learn, so no photographs: pip install -e '.[bench]'") from err
    try:
        from skimage import data
    except ImportError as err:
        raise MissingPhotographsError("no scikit-image, so no photographs: pip install -e '.[bench]'") from err
    pictures: list[Any] = [*load_sample_images().images, *(getattr(data, name)() for name in _NAMES)]
    for picture in pictures:
        yield np.ascontiguousarray(picture[..., :3], np.uint8)
