"""The graph that ONNX Runtime's own optimizer leaves of a model, without running it.

Meant for a child process, as native code reads the model there.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["optimized_graph"]

_EXTERNAL_FROM: Final = "1024"
_WEIGHTS: Final = "weights.bin"


def optimized_graph(path: str) -> ModelProto:
    """What ONNX Runtime would run, with all its optimizations on; large weights are neither written nor loaded.

    Args:
        path: a model.

    Raises:
        ExecutionError: if ONNX Runtime does not load it.
    """
    import onnx  # lazily, as the next ones: they are loaded in the child only
    import onnxruntime as ort

    from graphopt.errors import ExecutionError
    from graphopt.runtime.onnxruntime_runner import ort_errors

    with tempfile.TemporaryDirectory(prefix="graphopt-kernels-", ignore_cleanup_errors=True) as folder:
        made = os.path.join(folder, "made.onnx")
        with contextlib.suppress(OSError, NotImplementedError):  # else weights are written, and removed at the end
            os.symlink(os.devnull, os.path.join(folder, _WEIGHTS))
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.optimized_model_filepath = made
        options.add_session_config_entry("session.disable_prepacking", "1")
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", _WEIGHTS)
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_min_size_in_bytes", _EXTERNAL_FROM
        )
        try:
            ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except ort_errors as err:
            raise ExecutionError(f"ONNX Runtime does not load {path}: {' '.join(str(err).split())[:300]}") from err
        return onnx.load(made, load_external_data=False)
