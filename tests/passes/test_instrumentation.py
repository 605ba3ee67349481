"""Times, counts, memory and limits."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from graphopt.errors import PassError
from graphopt.ir import Constant, DType, GraphBuilder
from graphopt.passes import (
    BisectLimit,
    Pass,
    PassManager,
    PassRecord,
    PassResult,
    PassStatistics,
    PeakMemory,
    PipelineReport,
    TimePasses,
)
from tests.passes.sample_passes import DropOne, EliminateDoubleNeg, Tune, chain, ops


@dataclass(frozen=True)
class Shrink(Pass):
    """Halves each constant, in place or not."""

    name: ClassVar[str] = "shrink"

    def run(self, graph, ctx):
        scratch = np.ones(1 << 20, np.uint8)
        for value in graph.initializers():
            value.const = Constant(value.const.numpy().astype(np.float16))
        return PassResult(changed=bool(scratch[0]))


def test_times_are_a_table_slowest_first():
    report = PipelineReport(
        [PassRecord("a", ms=1.0), PassRecord("b", ms=5.0), PassRecord("a", ms=2.0)], ms=10.0, types_ms=1.5
    )
    report.records.append(PassRecord("c", skipped="left out"))
    assert [
        "ms      %  runs  pass",
        "5.00   50.0     1  b",
        "3.00   30.0     2  a",
        "1.50   15.0     1  type inference",
        "10.00  100.0        in all",
    ] == [line.strip() for line in TimePasses.table(report).splitlines()]


def test_times_are_written_when_the_pipeline_has_run():
    stream = io.StringIO()
    PassManager([EliminateDoubleNeg()], [TimePasses(stream)]).run(chain("Neg"))
    head, *rows, whole = [line.rsplit("  ", 1)[-1] for line in stream.getvalue().splitlines()]
    assert ("pass", "in all") == (head, whole)
    assert ["eliminate-double-neg", "type inference"] == sorted(rows)


def weighted():
    b = GraphBuilder(opset=17)
    b.output(b.Add(b.input("x", DType.FLOAT, [4]), np.ones(4, np.float32)), "y")
    return b.build()


def test_statistics_note_bytes_and_counts():
    stream = io.StringIO()
    report = PassManager([Tune(), Shrink()], [PassStatistics(stream)]).run(weighted())
    assert [(16, 16), (16, 8)] == [(r.bytes_before, r.bytes_after) for r in report.records]
    assert "tune: nodes 1 -> 1, bytes 16 -> 16\nshrink: nodes 1 -> 1, bytes 16 -> 8\n" == stream.getvalue()


def test_statistics_write_what_a_pass_counted():
    stream = io.StringIO()
    PassManager([DropOne()], [PassStatistics(stream)]).run(chain("Relu", "Neg"))
    assert "drop-one: nodes 2 -> 1, bytes 0 -> 0\n           1  dropped\n" == stream.getvalue()


def test_bytes_are_not_counted_unless_asked_for():
    report = PassManager([Shrink()]).run(weighted())
    assert report.records[0].bytes_before is None
    assert "constant_bytes" not in report.records[0].to_dict()


def test_traced_memory_of_a_pass_is_what_it_took():
    report = PassManager([Shrink(), Tune()], [PeakMemory(trace=True)]).run(weighted())
    shrink, tune = (record.peak_bytes or 0 for record in report.records)
    assert 1 << 20 <= shrink < 3 << 20
    assert tune < 1 << 18


def test_memory_of_the_process_never_shrinks():
    report = PassManager([Tune()], [PeakMemory()]).run(weighted())
    assert report.records[0].peak_bytes is not None
    assert report.records[0].peak_bytes >= 0


def test_tracing_stops_when_a_pass_fails():
    import tracemalloc

    @dataclass(frozen=True)
    class Fail(Tune):
        def run(self, graph, ctx):
            raise ValueError("boom")

    with pytest.raises(PassError):
        PassManager([Fail()], [PeakMemory(trace=True)]).run(weighted())
    assert not tracemalloc.is_tracing()


@pytest.mark.parametrize(
    ("limit", "left", "said"),
    [
        (0, ["Relu", "Neg", "Neg", "Abs"], "bisect limit 0: the last one is none"),
        (1, ["Neg", "Neg", "Abs"], "bisect limit 1: the last one is #1 drop-one at '' (pass drop-one)"),
        (3, ["Abs"], "bisect limit 3: not reached, 2 applications in all"),
    ],
)
def test_a_bisect_limit_says_where_it_stopped(limit, left, said):
    stream = io.StringIO()
    model = chain("Relu", "Neg", "Neg", "Abs")
    PassManager([DropOne(), EliminateDoubleNeg()], [BisectLimit(limit, stream)]).run(model)
    assert left == ops(model)
    assert said + "\n" == stream.getvalue()
