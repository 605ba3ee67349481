"""What ships with graphopt: a trained model with labelled images to judge it on, and pipeline files.

A small convolutional classifier of handwritten digits with BatchNormalization kept apart, as training frameworks export
it, and the held-out part of the data set that it never saw. `graphopt demo` and the documentation use them;
`scripts/make_digits_model.py` made them. May import numpy only.

Source: Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository,
    CC BY 4.0, as distributed with scikit-learn (`sklearn.datasets.load_digits`).
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["digits_model", "digits_test", "shipped_pipeline"]


def digits_model() -> Path:
    """Return the path of the trained digits classifier, an ONNX file of opset 17.

    Its input is `image`, float32 [batch, 1, 8, 8] with pixels from 0 to 16; its output is `logits`, float32
    [batch, 10]. The batch is dynamic.

    Example:
        >>> digits_model().name
        'digits_cnn.onnx'
    """
    return Path(str(files(__name__) / "digits_cnn.onnx"))


def digits_test() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the images and labels that the classifier was not trained on.

    Returns:
        x: float32 [N, 1, 8, 8], pixels from 0 to 16, as fed to the model.
        y: int64 [N], the digit on each image.

    Example:
        >>> x, y = digits_test()
        >>> x.shape, x.dtype, y.shape
        ((360, 1, 8, 8), dtype('float32'), (360,))
    """
    with (files(__name__) / "digits_test.npz").open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        return archive["x"], archive["y"]


def shipped_pipeline(name: str) -> Path | None:
    """Return the path of a pipeline file that ships with graphopt, ``None`` if there is none of that name.

    Args:
        name: with or without ``.toml``.

    Example:
        >>> shipped_pipeline("deploy-int8").name
        'deploy-int8.toml'
    """
    path = Path(str(files(__name__))) / "pipelines" / f"{name.removesuffix('.toml')}.toml"
    return path if name and path.is_file() else None
