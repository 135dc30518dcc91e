"""The telemetry panel: small curves with their values in words, gaps left open."""

from __future__ import annotations

import re

from pages.components.telemetry_panel import telemetry_panel
from studio.training.telemetry import GpuSample, Sample

GB = 10**9


def sample(at: float, cpu: float = 50.0, run: int = GB, gpus: tuple[GpuSample, ...] = ()) -> Sample:
    return Sample(at, cpu, 4 * GB, 16 * GB, run, 100 * GB, 500 * GB, gpus)


def lines(drawn: str) -> list[str]:
    return re.findall(r'<polyline points="([^"]*)"', drawn)


def test_nothing_yet_says_so() -> None:
    assert "No figures yet" in telemetry_panel(())


def test_each_curve_says_its_newest_and_highest_value() -> None:
    drawn = telemetry_panel([sample(0.0, 90.0, 3 * GB), sample(2.0, 40.0, 2 * GB)])
    for words in (
        "40 % now, 90 % at most",
        "2 GB now, 3 GB at most",
        "100 GB free of 500 GB",
        "2 s of samples",
    ):
        assert words in drawn
    assert len(lines(drawn)) == 3
    assert "GPU" not in drawn
    assert 'aria-label="Processor: 40 % now' in drawn


def test_a_gap_between_attempts_is_a_gap_in_the_line() -> None:
    times = [0.0, 2.0, 4.0, 500.0, 502.0]
    drawn = telemetry_panel([sample(at) for at in times])
    assert [len(line.split()) for line in lines(drawn)[:2]] == [3, 2]


def test_long_runs_are_thinned_and_keep_their_peak() -> None:
    samples = [sample(2.0 * place, run=GB) for place in range(5000)]
    samples[1234] = sample(2468.0, run=9 * GB)
    drawn = telemetry_panel(samples)
    assert "9 GB at most" in drawn
    assert len(lines(drawn)) == 3
    assert len(drawn) < 20_000


def test_each_gpu_has_its_curves_and_what_it_does_not_tell_is_left_out() -> None:
    gpu = GpuSample(1, 77.0, 5 * GB, 8 * GB, 66.0, None)
    drawn = telemetry_panel([sample(0.0, gpus=(gpu,)), sample(2.0, gpus=(gpu,))])
    assert "GPU 1 memory" in drawn
    assert "66 °C now" in drawn
    assert "power" not in drawn
