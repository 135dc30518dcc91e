"""The memory bar: parts with labels and bytes, what is missing, and predicted against measured."""

from __future__ import annotations

import re

from pages.components.memory_bar import memory_bar, memory_result, memory_size
from studio.training.memory import Fix, MemoryEstimate, Part

PARTS = (
    Part("weights", 269_000_000, "134,515,008 parameters, 16 bits each"),
    Part("adapters", 0, "none"),
    Part("activations", 1_500_000_000, "every layer's for 4 <sequences>"),
    Part("overhead", 700_000_000, "libraries"),
)
TOTAL = sum(part.bytes for part in PARTS)


def estimate(available: int, fix: Fix | None = None, observed: int = 0) -> MemoryEstimate:
    return MemoryEstimate(PARTS, TOTAL, available, available >= TOTAL, fix, "cpu", observed)


def widths(drawn: str) -> list[float]:
    return [
        float(found) for found in re.findall(r'<span class="td-memory-\w+" style="--part: ([\d.]+)"', drawn)
    ]


def test_every_part_has_its_label_its_bytes_and_its_reason() -> None:
    drawn = memory_bar(estimate(10**10))
    assert "About 2.47 GB" in drawn
    assert "10 GB free on this machine" in drawn
    for words in ("Weights", "269 MB", "16 bits each", "Activations", "1.5 GB", "Libraries and reserve"):
        assert words in drawn
    # A part that is not there is not listed, and what a model brought is escaped.
    assert "Adapters" not in drawn
    assert "&lt;sequences&gt;" in drawn
    assert 'role="img" aria-label="Weights 269 MB; Activations 1.5 GB' in drawn
    assert "td-bad" not in drawn


def test_the_bar_is_stacked_to_what_is_there() -> None:
    assert sum(widths(memory_bar(estimate(10**10)))) == TOTAL / 10**10
    # Where it does not fit, the parts fill the bar and a line says where memory ends.
    short = memory_bar(estimate(TOTAL // 2))
    assert abs(sum(widths(short)) - 1) < 1e-3
    assert 'class="td-memory-limit" style="--part: 0.5000"' in short


def test_what_does_not_fit_says_the_smallest_change() -> None:
    fix = Fix({"recompute": True, "batch_size": 2}, 900_000_000, "Recompute activations.")
    drawn = memory_bar(estimate(10**9, fix))
    assert "This does not fit: 1.47 GB are missing." in drawn
    assert "Recompute activations." in drawn
    assert "about 900 MB" in drawn
    assert "<li>recompute: true</li><li>batch_size: 2</li>" in drawn
    assert "no change of the recipe" in memory_bar(estimate(10**9))


def test_how_far_it_can_be_trusted_is_said() -> None:
    assert "Not yet corrected" in memory_bar(estimate(10**10))
    assert "Corrected by 3 past runs" in memory_bar(estimate(10**10, observed=3))


def test_after_the_run_predicted_stands_against_measured() -> None:
    drawn = memory_bar(estimate(10**10), measured=2_300_000_000)
    assert "Peak memory 2.3 GB, 7% less than predicted (2.47 GB)." in drawn
    assert 'class="td-memory-measured" style="--part: 0.2300"' in drawn
    assert "25% more than predicted" in memory_result(800, 1067)
    assert "25% less than predicted" in memory_result(1000, 800)
    assert "as predicted" in memory_result(1000, 1000)
    assert memory_result(None, 5) == memory_result(5, None) == ""


def test_sizes_have_three_digits() -> None:
    found = [memory_size(number) for number in (0, 999, 1000, 1_234_567, 999_600, 12_345_678_901)]
    assert found == ["0 B", "999 B", "1 KB", "1.23 MB", "1 MB", "12.3 GB"]
