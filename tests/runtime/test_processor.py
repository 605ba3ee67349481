"""What processors say of themselves, and what is read out of it."""

from __future__ import annotations

import pytest

from graphopt.runtime.processor import processor_from_cpuinfo, processor_from_sysctl, this_processor

SERVER = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R)  Xeon(R) Processor
flags\t\t: fpu sse4_1 avx avx2 avx512f avx512bw avx512_vnni

processor\t: 1
model name\t: another
flags\t\t: fpu
"""
GRAVITON = "processor : 0\nBogoMIPS : 243.75\nFeatures : fp asimd evtstrm aes {more}\nCPU implementer : 0x41\n"


def test_the_first_processor_counts():
    found = processor_from_cpuinfo(SERVER)
    assert ("Intel(R) Xeon(R) Processor", "avx512-vnni") == (found.name, found.products)
    assert found.is_fast_at_int8
    assert not found.may_saturate
    assert found.summary.startswith("Intel(R) Xeon(R) Processor: AVX-512 with VNNI")


@pytest.mark.parametrize(
    ("flags", "products", "fast", "saturates"),
    [
        ("avx2 avx512bw avx512_vnni amx_int8", "amx", True, False),
        ("avx2 avx_vnni", "avx-vnni", True, False),
        ("avx2 avx512f avx512bw", "avx512", False, True),
        ("avx avx2 fma", "avx2", False, True),
        ("fpu sse4_1", "sse", False, True),
        ("fpu", "unknown", False, False),
    ],
)
def test_x86(flags, products, fast, saturates):
    found = processor_from_cpuinfo(f"model name : x\nflags : {flags}\n")
    assert (products, fast, saturates) == (found.products, found.is_fast_at_int8, found.may_saturate)


@pytest.mark.parametrize(("more", "products"), [("asimddp i8mm", "i8mm"), ("asimddp", "dotprod"), ("crc32", "neon")])
def test_arm(more, products):
    found = processor_from_cpuinfo(GRAVITON.format(more=more))
    assert ("", products) == (found.name, found.products)
    assert not found.may_saturate
    assert found.summary.startswith("this processor: Arm NEON")


def test_macos():
    intel = "machdep.cpu.brand_string: Intel Core\nmachdep.cpu.features: FPU SSE4.1\nmachdep.cpu.leaf7_features: AVX2 BMI2\n"
    assert "avx2" == processor_from_sysctl(intel).products
    apple = "machdep.cpu.brand_string: Apple M1\nhw.optional.arm.FEAT_DotProd: 1\nhw.optional.arm.FEAT_I8MM: 0\n"
    assert ("Apple M1", "dotprod") == (processor_from_sysctl(apple).name, processor_from_sysctl(apple).products)
    assert "unknown" == processor_from_sysctl("").products


def test_this_one_says_something():
    assert this_processor().summary
    assert this_processor() is this_processor()
