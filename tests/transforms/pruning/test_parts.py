"""prune-channels with a ratio of its own for each group, and what it remembers of equal models."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.builtin_plugin import builtin_plugins
from graphopt.errors import PassError, PipelineError
from graphopt.passes import Memory, PassContext, Pipeline
from graphopt.transforms.pruning import PruneChannels, channels, importance
from tests.transforms.harness import model
from tests.transforms.pruning.networks import lifted


def chain():
    weights = {name: np.arange(1, 257, dtype=np.float32).reshape(16, 16) for name in ("u", "v", "w")}
    proto = model(
        "h = MatMul (x, u) g = MatMul (h, v) y = MatMul (g, w)", "float[5,16] x", "float[5,16] y", initializers=weights
    )
    return lifted(proto)


def sizes(owner):
    return [node.output.shape[1] for node in owner.graph.nodes]


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"parts": ("u=0.5",)}, [8, 16, 16]),
        ({"parts": ("u=0.5", "v=0.25")}, [8, 12, 16]),
        ({"parts": ("*=0.5", "v=0")}, [8, 16, 16]),
        ({"parts": ("v=0.5",), "ratio": 0.25}, [12, 8, 16]),
        ({"parts": ("v=0.5",), "exclude": ("v",)}, [16, 16, 16]),
        ({"parts": ("op:MatMul=0.75",)}, [4, 4, 16]),
    ],
)
def test_each_group_loses_its_part(options, left):
    owner = chain()
    result = PruneChannels(round_to=4, **options).run(owner.graph, PassContext())
    assert left == sizes(owner)
    assert result.changed == (left != [16, 16, 16])


@pytest.mark.parametrize("text", ["u", "u=1", "u=-0.1", "=0.5", "u=half", "u=nan"])
def test_a_part_that_makes_no_sense(text):
    with pytest.raises(PipelineError, match="a part is"):
        PruneChannels(parts=(text,))


def test_parts_and_a_budget():
    with pytest.raises(PipelineError, match="parts and a budget"):
        PruneChannels(parts=("u=0.5",), flops=0.5)


@pytest.mark.parametrize("name", ["uu", "w"])
def test_a_name_that_nothing_has(name):
    with pytest.raises(PassError, match=f"parts has '{name}'"):
        PruneChannels(parts=(f"{name}=0.5",)).run(chain().graph, PassContext())


def test_parts_in_text():
    item = Pipeline.of(PruneChannels(parts=("a b=0.5", "/c.w=0.25")))
    assert item == Pipeline.from_text(item.to_text(), builtin_plugins(discover=False).passes)


def test_what_is_known_of_an_equal_model_is_not_worked_out_again(monkeypatch):
    asked = []

    def counting(*arguments):
        asked.append([group.name for group in arguments[3]])
        return counted(*arguments)

    counted = importance.importance
    monkeypatch.setattr(channels, "importance", counting)
    memory = Memory()
    plain, kept = chain(), chain()
    PruneChannels(ratio=0.25, round_to=4).run(plain.graph, PassContext())
    for options in ({"parts": ("u=0.5",)}, {"ratio": 0.25}, {"ratio": 0.25}):
        kept = chain()
        PruneChannels(round_to=4, **options).run(kept.graph, PassContext(memory=memory))
    assert [["u", "v"], ["u"], ["v"]] == asked
    for expected, found in zip(plain.graph.initializers(), kept.graph.initializers(), strict=True):
        np.testing.assert_array_equal(expected.const.numpy(), found.const.numpy())
    PruneChannels(round_to=4).run(kept.graph, PassContext(memory=memory))
    assert ["u", "v"] == asked[-1], "it is another model by now"
