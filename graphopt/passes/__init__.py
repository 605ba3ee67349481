"""Infrastructure of passes: what a pass is and how pipelines run. No concrete pass lives here.

Import from here, not from the modules inside.
"""

from __future__ import annotations

from graphopt.numerics import Exact, Lossy, Numerics, Reassociates, weakest
from graphopt.passes.base import Executor, ModelTypes, Pass, PassContext, PassResult
from graphopt.passes.calibration import CalibrationSource, Calibrator, ExtensibleSource, Observer, Range
from graphopt.passes.calibration_table import CalibrationTable
from graphopt.passes.dumps import PrintIR, Reproducer, installed_versions
from graphopt.passes.instrumentation import BisectLimit, Instrumentation, PassStatistics, PeakMemory, TimePasses
from graphopt.passes.manager import PassManager
from graphopt.passes.memory import Memory
from graphopt.passes.operators import Converter, Kernel, Lowering, LowerOperators, OperatorDefinition
from graphopt.passes.options import OptionSpec, build_pass, option_specs, options_text, pass_text
from graphopt.passes.packed_mask import PackedMask
from graphopt.passes.pipeline import Fixpoint, Item, Pipeline, parse_overrides, parse_pipeline
from graphopt.passes.pruning_log import NotedAxis, PruningLog, structure_digest, weight_names
from graphopt.passes.pruning_plan import AxisPlan, PruningPlan
from graphopt.passes.record import PassRecord, PipelineReport
from graphopt.passes.reference import Reference
from graphopt.passes.registry import Lazy, PassRegistry, Registry, suggestion
from graphopt.passes.rewrite_pass import RewritePass
from graphopt.passes.session_settings import SessionSettings
from graphopt.passes.toml_config import CalibrationConfig, CheckConfig, InputConfig, PipelineFile, read_pipeline_file
from graphopt.passes.verify_each import VerifyEach

__all__ = [
    "AxisPlan",
    "BisectLimit",
    "CalibrationConfig",
    "CalibrationSource",
    "CalibrationTable",
    "Calibrator",
    "CheckConfig",
    "Converter",
    "Exact",
    "Executor",
    "ExtensibleSource",
    "Fixpoint",
    "InputConfig",
    "Instrumentation",
    "Item",
    "Kernel",
    "Lazy",
    "Lossy",
    "LowerOperators",
    "Lowering",
    "Memory",
    "ModelTypes",
    "NotedAxis",
    "Numerics",
    "Observer",
    "OperatorDefinition",
    "OptionSpec",
    "PackedMask",
    "Pass",
    "PassContext",
    "PassManager",
    "PassRecord",
    "PassRegistry",
    "PassResult",
    "PassStatistics",
    "PeakMemory",
    "Pipeline",
    "PipelineFile",
    "PipelineReport",
    "PrintIR",
    "PruningLog",
    "PruningPlan",
    "Range",
    "Reassociates",
    "Reference",
    "Registry",
    "Reproducer",
    "RewritePass",
    "SessionSettings",
    "TimePasses",
    "VerifyEach",
    "build_pass",
    "installed_versions",
    "option_specs",
    "options_text",
    "parse_overrides",
    "parse_pipeline",
    "pass_text",
    "read_pipeline_file",
    "structure_digest",
    "suggestion",
    "weakest",
    "weight_names",
]
