"""Makes the cases of `benchmarks.quantization`: real models with data to calibrate, other data to judge, and labels where there are some.

* digits: MNIST models of a folder, with the labelled digits of `mnist.npz` (`x_train`, `y_train`, `x_test`, `y_test` or alike names);
* crops: image models, with crops of the photographs that scikit-learn and scikit-image ship;
* tokens: a trained sentence encoder whose stored weights are integers, made float again, and seeded token ids of a skewed distribution;
* transformers and recurrent models of `benchmarks.quantized_models`, with random weights and inputs.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["main", "normalized_digits", "write_case"]

Array = npt.NDArray[Any]
DIGITS = ("mnist_resnet_bn", "mnist_vit")
#: Image models: their input, size of a side, mean and divisor of pixels, number of crops to calibrate and to judge.
PICTURES = {
    "efficientnet_lite0_trained_bn": ("image", 224, 127.0, 128.0, 128, 500),
    "pplcnet_orientation": ("x", 224, 127.0, 58.0, 64, 200),
    "ppocrv2_cls": ("x", 64, 127.5, 127.5, 64, 200),
    "ppocrv4_rec": ("x", 48, 127.5, 127.5, 64, 100),
    "ppocrv4_det": ("x", 224, 127.0, 58.0, 64, 100),
}


def write_case(
    folder: Path,
    model: Path,
    calibrate: Mapping[str, Array],
    test: Mapping[str, Array],
    *,
    labels: Array | None = None,
    batch: int,
    timed_batch: int = 1,
) -> None:
    """Write the folder of a case.

    Args:
        folder: it; what is there is replaced.
        model: an ONNX file.
        calibrate: arrays by input, samples along the first axis.
        test: the same, other samples.
        labels: classes of the test samples.
        batch: samples that the model is given together.
        timed_batch: the same when it is timed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copyfile(model, folder / "model.onnx")
    save: Callable[..., None] = np.savez
    save(folder / "calibrate.npz", **calibrate)
    save(folder / "test.npz", **test)
    if labels is not None:
        save(folder / "labels.npz", labels=labels)
    (folder / "case.json").write_text(json.dumps({"batch": batch, "timed_batch": timed_batch}), encoding="utf-8")


def _digits(zoo: Path, data: Path, into: Path) -> None:
    with np.load(data) as found:
        names = {name.lower(): name for name in found.files}
        parts = {
            key: found[next(names[name] for name in names if name in choices)]
            for key, choices in {
                "x": ("x_train", "train_images", "train_x"),
                "test": ("x_test", "test_images", "test_x"),
                "y": ("y_test", "test_labels", "test_y"),
            }.items()
        }
    images, test = (normalized_digits(parts[key]) for key in ("x", "test"))
    for name in DIGITS:
        if (zoo / f"{name}.onnx").exists():
            write_case(
                into / name,
                zoo / f"{name}.onnx",
                {"image": images[:512]},
                {"image": test},
                labels=parts["y"].astype(np.int64),
                batch=64,
                timed_batch=8,
            )


def normalized_digits(pixels: Array) -> Array:
    """Digits as the models of them take them: float32 [N, 1, 28, 28]."""
    scaled = (pixels.reshape(-1, 1, 28, 28).astype(np.float32) / 255 - 0.1307) / 0.3081
    return np.asarray(scaled, np.float32)


def _pictures(zoo: Path, into: Path) -> None:
    from benchmarks.crops import crops, normalized

    for name, (given, size, mean, std, few, many) in PICTURES.items():
        if (zoo / f"{name}.onnx").exists():
            calibrate, test = (
                normalized(crops(count, seed=seed, size=size), mean=mean, std=std)
                for count, seed in ((few, 0), (many, 1))
            )
            if name == "ppocrv4_rec":  # lines of text are wide
                calibrate, test = (np.concatenate(np.split(item, 4), axis=-1) for item in (calibrate, test))
            write_case(into / name, zoo / f"{name}.onnx", {given: calibrate}, {given: test}, batch=1)


def _tokens(zoo: Path, into: Path) -> None:
    source = zoo / "minilm_int8.onnx"
    if not source.exists():
        return
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC  # folds the weights to float
    floats = into / "minilm.onnx"
    into.mkdir(parents=True, exist_ok=True)
    options.optimized_model_filepath = str(floats)
    options.log_severity_level = 4
    ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    calibrate, test = (_sentences(rng, count, 64) for count in (64, 64))
    write_case(into / "minilm", floats, calibrate, test, batch=8)
    floats.unlink()


def _sentences(rng: np.random.Generator, count: int, length: int) -> dict[str, Array]:
    """Token ids of BERT's vocabulary, frequent ones more often, between its marks of begin and end, then padding."""
    ids, mask = np.zeros((count, length), np.int64), np.zeros((count, length), np.int64)
    for row in range(count):
        words = int(rng.integers(6, length - 2))
        drawn = np.minimum(1996 + rng.zipf(1.2, words), 30000)
        ids[row, : words + 2] = [101, *drawn, 102]
        mask[row, : words + 2] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def main(argv: Sequence[str] | None = None) -> int:
    """Write the cases that can be made of what is there."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quantization_cases", description=__doc__)
    parser.add_argument("--zoo", type=Path, required=True, help="folder of models")
    parser.add_argument("--mnist", type=Path, help="labelled digits, .npz")
    parser.add_argument("--into", type=Path, required=True, help="folder for the cases")
    options = parser.parse_args(argv)
    if options.mnist:
        _digits(options.zoo, options.mnist, options.into)
    _pictures(options.zoo, options.into)
    _tokens(options.zoo, options.into)
    for path in sorted(options.into.glob("*/case.json")):
        print(path.parent)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
