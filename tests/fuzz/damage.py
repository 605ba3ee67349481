"""Damages the bytes of small real models and gives them to graphopt; runs in a child process, because what is asked is whether it survives.

Whatever the bytes, only graphopt's own errors may come out. Models come with the package and with the onnx package.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import random
import tempfile
import traceback
from pathlib import Path

import onnx
from onnx import ModelProto

import graphopt
from graphopt.data import digits_model
from graphopt.errors import GraphoptError
from graphopt.testing.strategies.bulk import sampled_models

__all__ = ["attack", "attack_many", "damaged", "seeds"]

_SUITE = Path(onnx.__file__).parent / "backend" / "test" / "data"
_MODELS = (
    "simple/test_expand_shape_model1/model.onnx",
    "simple/test_shrink/model.onnx",
    "simple/test_sequence_model7/model.onnx",
    "pytorch-converted/test_Conv2d_groups/model.onnx",
    "pytorch-converted/test_BatchNorm2d_eval/model.onnx",
    "pytorch-converted/test_PixelShuffle/model.onnx",
    "pytorch-converted/test_PoissonNLLLLoss_no_reduce/model.onnx",
    "pytorch-operator/test_operator_repeat_dim_overflow/model.onnx",
)
#: Generated models, some with subgraphs, functions, shape arithmetic.
_GENERATED = 24


def seeds() -> list[bytes]:
    """The models that are damaged."""
    found = [digits_model().read_bytes()]
    found += [path.read_bytes() for name in _MODELS if (path := _SUITE / name).is_file()]
    found += [model.proto.SerializeToString() for model in sampled_models(_GENERATED)]
    return found


def damaged(rng: random.Random, data: bytes) -> bytes:
    """The bytes with some flipped, cut, doubled, put in, or replaced by numbers that mean much."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        if not found:
            break
        place = rng.randrange(min(len(found), 4000) if rng.random() < 0.7 else len(found))
        match rng.randrange(7):
            case 0 | 1:
                found[place] ^= 1 << rng.randrange(8)
            case 2:
                found[place] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 3:
                del found[place : place + rng.choice((1, 1, 2, 8, len(found)))]
            case 4:
                found[place:place] = bytes(rng.randrange(256) for _ in range(rng.choice((1, 2, 10))))
            case 5:
                found[place:place] = found[place : place + rng.randrange(1, 64)]
            case _:
                number = rng.choice(
                    (b"\xff" * 9 + b"\x01", b"\xff\xff\xff\xff\x07", b"\x80" * 9 + b"\x01", b"\x80\x80\x80\x80\x10")
                )
                found[place : place + 1] = number
    return bytes(found)


def changed(rng: random.Random, data: bytes) -> bytes:
    """A model with some fields changed, still a message: what damaged bytes seldom reach."""
    model = ModelProto.FromString(data)
    nodes = list(model.graph.node)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if not nodes:
            break
        node = rng.choice(nodes)
        names = [name for other in nodes for name in (*other.input, *other.output)] + [
            item.name for item in model.graph.initializer
        ]
        match rng.randrange(10):
            case 0 if node.input:
                node.input[rng.randrange(len(node.input))] = rng.choice([*names, "", "nowhere"])
            case 1 if node.output:
                node.output[rng.randrange(len(node.output))] = rng.choice([*names, ""])
            case 2:
                node.op_type = rng.choice(
                    [*(other.op_type for other in nodes), "If", "Loop", "Constant", "Slice", "Nonsense", ""]
                )
            case 3 if node.attribute:
                attribute = rng.choice(node.attribute)
                attribute.i = rng.choice((-1, 0, 1 << 62, -(1 << 63), 7))
                if rng.random() < 0.5:
                    attribute.type = rng.randrange(15)
            case 4 if node.attribute:
                attribute = rng.choice(node.attribute)
                attribute.ints.append(rng.choice((-1, 0, 1 << 62, -(1 << 63))))
            case 5 if model.graph.initializer:
                item = rng.choice(model.graph.initializer)
                if rng.random() < 0.5:
                    item.dims.append(rng.choice((0, 1, -1, 1 << 40)))
                else:
                    item.data_type = rng.randrange(25)
            case 6 if model.graph.input:
                dims = rng.choice(model.graph.input).type.tensor_type.shape.dim
                dims.add(dim_value=rng.choice((-1, 0, 1 << 40, (1 << 63) - 1)))
            case 7:
                model.opset_import[0].version = rng.choice((0, -1, 1, 6, 9, 12, 13, 30, 1 << 40))
            case 8:
                model.ir_version = rng.choice((0, 1, 3, 11, 99, -5))
            case _:
                rng.shuffle(nodes)
                del model.graph.node[:]
                model.graph.node.extend(nodes)
                nodes = list(model.graph.node)
    written: bytes = model.SerializeToString()
    return written


def attack(data: bytes, *, check: bool) -> str:
    """What comes of one broken model: ``"fine"``, ``"refused"``, or a traceback of what should not have come out."""
    try:
        graphopt.lift(data)
        graphopt.optimize(data, level="O3", check=check)
    except GraphoptError:
        return "refused"
    except Exception:  # noqa: BLE001 - whatever it is, it is what is looked for
        return traceback.format_exc(limit=-6)
    return "fine"


def attack_command_line(data: bytes) -> str:
    """The same through the command, in this process."""
    from typer.testing import CliRunner

    from graphopt.cli import app

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "broken.onnx")
        path.write_bytes(data)
        shown = CliRunner().invoke(app, ["optimize", str(path), "-o", str(Path(folder, "out.onnx")), "--no-check"])
        left = sorted(os.listdir(folder))
    if shown.exit_code not in (0, 2):
        return f"exit code {shown.exit_code}: {shown.output[-500:]}"
    if shown.exit_code == 2 and left != ["broken.onnx"]:
        return f"refused, but left {left}"
    return "fine" if shown.exit_code == 0 else "refused"


def attack_many(start: int, count: int, check: bool) -> list[tuple[int, str]]:
    """What comes of many broken models, by seed."""
    logging.disable(logging.CRITICAL)
    models = seeds()
    found = []
    for seed in range(start, start + count):
        rng = random.Random(seed)
        data = rng.choice(models)
        data = damaged(rng, data) if rng.random() < 0.6 else changed(rng, data)
        with contextlib.redirect_stderr(io.StringIO()):
            verdict = attack_command_line(data) if seed % 10 == 0 else attack(data, check=check)
        found.append((seed, verdict))
    return found
