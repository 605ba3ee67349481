"""What a processor does with integers: whether 8-bit products have instructions of their own, and whether sums of them may saturate.

Read from ``/proc/cpuinfo`` on Linux, ``sysctl`` on macOS; elsewhere it is unknown. Sources: Intel 64 and IA-32 Architectures Software
Developer's Manual, VPDPBUSD and VPMADDUBSW; Arm Architecture Reference Manual, FEAT_DotProd and FEAT_I8MM.
"""

from __future__ import annotations

import functools
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

__all__ = ["IntegerProducts", "Processor", "processor_from_cpuinfo", "processor_from_sysctl", "this_processor"]

#: How 8-bit integers are multiplied, best first within each architecture.
IntegerProducts = Literal[
    "amx", "avx512-vnni", "avx-vnni", "avx512", "avx2", "sse", "i8mm", "dotprod", "neon", "unknown"
]

_X86: Final[tuple[tuple[IntegerProducts, tuple[str, ...]], ...]] = (
    ("amx", ("amx_int8",)),
    ("avx512-vnni", ("avx512_vnni", "avx512vnni")),
    ("avx-vnni", ("avx_vnni",)),
    ("avx512", ("avx512bw",)),
    ("avx2", ("avx2",)),
    ("sse", ("sse4_1", "sse4.1", "ssse3")),
)
_ARM: Final[tuple[tuple[IntegerProducts, tuple[str, ...]], ...]] = (
    ("i8mm", ("i8mm", "feat_i8mm")),
    ("dotprod", ("asimddp", "feat_dotprod")),
    ("neon", ("asimd", "neon", "advsimd")),
)
_ACCUMULATING: Final = frozenset({"amx", "avx512-vnni", "avx-vnni", "i8mm", "dotprod"})
#: Instructions that add pairs of products in 16 bits, which overflow with all 8 bits of both factors.
_SATURATING: Final = frozenset({"avx512", "avx2", "sse"})
_WORDS: Final[dict[IntegerProducts, str]] = {
    "amx": "AMX tiles of 8-bit integers",
    "avx512-vnni": "AVX-512 with VNNI: four 8-bit products and their sum in one instruction",
    "avx-vnni": "AVX with VNNI: four 8-bit products and their sum in one instruction",
    "avx512": "AVX-512 without VNNI: three instructions for what VNNI does in one, and sums that may saturate",
    "avx2": "AVX2 without VNNI: three instructions for what VNNI does in one, and sums that may saturate",
    "sse": "SSE only: 8-bit integers bring little",
    "i8mm": "Arm NEON with 8-bit matrix products (I8MM)",
    "dotprod": "Arm NEON with 8-bit dot products",
    "neon": "Arm NEON without dot products: 8-bit integers bring little",
    "unknown": "unknown: what 8-bit integers bring is only told by measuring",
}


@dataclass(frozen=True, slots=True)
class Processor:
    """A processor, as far as integers go.

    Attributes:
        name: what its maker calls it, ``""`` when nobody says.
        products: how it multiplies 8-bit integers.

    Example:
        >>> Processor("a server", "avx512-vnni").is_fast_at_int8, Processor("an old one", "avx2").may_saturate
        (True, True)
    """

    name: str
    products: IntegerProducts

    @property
    def is_fast_at_int8(self) -> bool:
        """Whether one instruction multiplies four and more pairs of 8-bit integers and adds them up in 32 bits."""
        return self.products in _ACCUMULATING

    @property
    def may_saturate(self) -> bool:
        """Whether pairs of products are added up in 16 bits, so that weights had better keep to 7 bits."""
        return self.products in _SATURATING

    @property
    def summary(self) -> str:
        """What it can do, in a line."""
        return f"{self.name or 'this processor'}: {_WORDS[self.products]}"


def processor_from_cpuinfo(text: str) -> Processor:
    r"""The first processor in a Linux ``/proc/cpuinfo``.

    Args:
        text: the file.

    Example:
        >>> processor_from_cpuinfo("model name : Some CPU\nflags : fpu avx2 avx512_vnni\n").products
        'avx512-vnni'
    """
    name, features = "", set[str]()
    for line in text.splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key.lower() in ("model name", "hardware") and not name:
            name = " ".join(value.split())
        elif key.lower() in ("flags", "features") and not features:
            features = set(value.lower().split())
    return Processor(name, _products(features))


def processor_from_sysctl(text: str) -> Processor:
    r"""The processor in what ``sysctl -a`` of macOS says, lines of ``name: value``.

    Args:
        text: the lines that start with ``machdep.cpu`` and ``hw.optional``.

    Example:
        >>> processor_from_sysctl("machdep.cpu.brand_string: Apple M2\nhw.optional.arm.FEAT_DotProd: 1\n").products
        'dotprod'
    """
    name, features = "", set[str]()
    for line in text.splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "machdep.cpu.brand_string":
            name = value
        elif key.startswith("machdep.cpu.") and key.endswith("features"):
            features |= set(value.lower().split())
        elif key.startswith("hw.optional.") and value == "1":
            features.add(key.rpartition(".")[2].lower())
    return Processor(name, _products(features))


def _products(features: Iterable[str]) -> IntegerProducts:
    found = set(features)
    return next((name for name, flags in (*_X86, *_ARM) if found.intersection(flags)), "unknown")


@functools.cache
def this_processor() -> Processor:
    """The processor that this runs on; ``unknown`` where the system does not tell."""
    try:
        return processor_from_cpuinfo(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        pass  # not Linux
    if platform.system() == "Darwin":
        return processor_from_sysctl(_sysctl())
    return Processor(platform.processor(), "unknown")


def _sysctl() -> str:
    try:
        command = ["/usr/sbin/sysctl", "machdep.cpu", "hw.optional"]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
