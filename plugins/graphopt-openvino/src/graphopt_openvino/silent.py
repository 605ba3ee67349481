"""The ``openvino`` package, imported without its telemetry.

Importing ``openvino`` reports the import over the network and leaves files in the home folder, unless somebody opted out. It does
without when its telemetry package can't be imported, so that package is hidden for as long as the import takes.
"""

from __future__ import annotations

import functools
import importlib
import sys
from types import ModuleType

__all__ = ["core", "import_openvino"]

_TELEMETRY = "openvino_telemetry"


def import_openvino() -> ModuleType:
    """The package, as it is when telemetry is not installed."""
    if "openvino" in sys.modules:
        return sys.modules["openvino"]
    hidden = _TELEMETRY not in sys.modules
    if hidden:
        sys.modules[_TELEMETRY] = None  # what makes Python say that there is no such module
    try:
        return importlib.import_module("openvino")
    finally:
        if hidden:
            sys.modules.pop(_TELEMETRY, None)


@functools.cache
def core():
    """OpenVINO's entry to devices; making one loads their plugins, so there is one in a process."""
    return import_openvino().Core()
