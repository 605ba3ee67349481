"""Every error that graphopt raises on purpose, one class per thing a caller can do about it.

    GraphoptError                what the command line prints as one line, exit code 2
    ├── ModelError               the model is broken: fix the model
    │   └── UnsafePathError      an external data path leaves the model's folder
    ├── UnsupportedOpError       a backend or executor cannot run an operator: choose another target
    ├── PatternError             a rewrite pattern contradicts the operator schemas: fix the rule
    ├── PassError                a pass failed or broke its contract: report it, or leave the pass out
    ├── PipelineError            pipeline text, TOML or an option is wrong: fix the spelling
    ├── PluginError              a plugin failed, clashed or is misspelled: block or fix the plugin
    ├── CalibrationError         data to calibrate with, or a table of ranges, can't be used: bring other data
    ├── QuantizationError        a model can't be quantized as it is asked for: choose another form, target or budget
    ├── PruningError             a model can't be pruned as it is asked for: choose other amounts, layers or another budget
    ├── ExecutionError           a runtime refused or failed to run a model
    ├── VerificationError        the result differs from the original: nothing was written
    └── OutputError              the result cannot be written: choose another path

Messages start in lower case, name the place, what was found and expected, and what to do.
"""

from __future__ import annotations

__all__ = [
    "CalibrationError",
    "ExecutionError",
    "GraphoptError",
    "ModelError",
    "OutputError",
    "PassError",
    "PatternError",
    "PipelineError",
    "PluginError",
    "PruningError",
    "QuantizationError",
    "UnsafePathError",
    "UnsupportedOpError",
    "VerificationError",
]


class GraphoptError(Exception):
    """Base of all errors that graphopt raises on purpose.

    Attributes:
        pass_name: the pass that raised it while it ran, ``""`` when none did.
        rule: the rule that was being applied, ``""`` when none was.
        node: name of the first output of the node where that was, or of the node.
    """

    pass_name: str = ""
    rule: str = ""
    node: str = ""


class ModelError(GraphoptError):
    """The model is not valid, or not one that graphopt can keep."""


class UnsafePathError(ModelError):
    """An external data path is absolute, or leaves the folder of its model."""


class UnsupportedOpError(GraphoptError):
    """An operator cannot be lowered to, or run by, the chosen backend."""


class PatternError(GraphoptError):
    """A rewrite pattern contradicts the schema of an operator that it names."""


class PassError(GraphoptError):
    """A pass failed, or broke what it declares."""


class PipelineError(GraphoptError):
    """A pipeline, level, pass name or pass option is not understood."""


class PluginError(GraphoptError):
    """A plugin failed to load, clashes with another one, or implements an unknown hook."""


class CalibrationError(GraphoptError):
    """Data to calibrate with, or a calibration table, is not what the model or the calibrator needs."""


class QuantizationError(GraphoptError):
    """A model can't be quantized as it is asked for: nothing in it can be, the target has no integers, or a budget can't be met."""


class PruningError(GraphoptError):
    """A model can't be pruned as it is asked for: nothing in it can be, an amount makes no sense, or a budget can't be met."""


class ExecutionError(GraphoptError):
    """A runtime refused a model, or failed while running it."""


class VerificationError(GraphoptError):
    """The optimized model does not compute what the original computes."""


class OutputError(GraphoptError):
    """A result cannot be written to where it was asked for."""
