"""What a reduction came to, and its files."""

from __future__ import annotations

import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from graphopt.backends.onnx.atomic import check_output, new_files
from graphopt.backends.onnx.files import save
from graphopt.errors import ExecutionError
from graphopt.ir import Model
from graphopt.runtime.base import Feeds
from graphopt.verify.reduction.search import Step
from graphopt.verify.user_inputs import save_inputs

__all__ = ["Reduction", "input_paths"]


@dataclass(frozen=True, slots=True)
class Reduction:
    """The smallest model found that fails as the original does.

    Attributes:
        model: that model.
        samples: the inputs that show the failure; empty when it shows without.
        kind: how it fails, in a few words.
        nodes_before: nodes of the original, those in subgraphs and functions included.
        steps: what each run of a shrinker brought.
        checks: how often the check ran.
        seconds: how long it took.
        interrupted: whether it was stopped before its end: the model fails all the same, but could be smaller.
    """

    model: Model
    samples: tuple[Feeds, ...]
    kind: str
    nodes_before: int
    steps: tuple[Step, ...]
    checks: int
    seconds: float
    interrupted: bool = False

    @property
    def nodes_after(self) -> int:
        """Nodes of the reduced model."""
        return self.model.node_count

    @property
    def feeds(self) -> Feeds:
        """The first set of inputs, empty when there is none."""
        return self.samples[0] if self.samples else {}

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> list[Path]:
        """Write the model, and its inputs as ``.npz`` files beside it; all appear whole or not at all.

        Args:
            path: of the model.
            force: whether files that are there may be replaced.

        Returns:
            The files written, the model first.

        Raises:
            OutputError: if a file exists, or cannot be written.
        """
        target = Path(path)
        places = input_paths(target, len(self.samples))
        real = [check_output(place, force=force) for place in (target, *places)][1:]
        contents = [content for feeds in self.samples if (content := _archive(feeds)) is not None]
        if len(contents) < len(self.samples):
            places, real, contents = [], [], []
        written = [target.with_name(path.name) for path in save(self.model, target, force=force, lineage=False)]
        if real:
            with new_files(real) as files:
                for file, content in zip(files, contents, strict=True):
                    file.write(content)
        return [*written, *places]

    def to_json(self) -> dict[str, object]:
        """Plain data, without the model."""
        return {
            "kind": self.kind,
            "nodes_before": self.nodes_before,
            "nodes_after": self.nodes_after,
            "samples": len(self.samples),
            "checks": self.checks,
            "seconds": self.seconds,
            "interrupted": self.interrupted,
            "steps": [asdict(step) for step in self.steps],
        }


def input_paths(model: Path, count: int) -> list[Path]:
    """Where the inputs of a model go: ``model.npz``, ``model-2.npz`` and so on."""
    return [model.with_name(f"{model.stem}{'' if number == 1 else f'-{number}'}.npz") for number in range(1, count + 1)]


def _archive(feeds: Feeds) -> bytes | None:
    """The bytes of an ``.npz`` file, ``None`` for maps, which it can't hold."""
    with tempfile.TemporaryDirectory(prefix="graphopt-", ignore_cleanup_errors=True) as folder:
        place = Path(folder) / "inputs.npz"
        try:
            save_inputs(place, feeds)
        except ExecutionError:
            return None
        return place.read_bytes()
