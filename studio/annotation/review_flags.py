"""What a lead should look at: sentences about people whose numbers stand out.

A whole team is compared at once, so each test is made stricter by the number of people (Bonferroni): in
a team where nobody does anything unusual, each kind of test flags somebody by chance once in twenty
times. A flag says what was seen and not why: a slow or disagreeing person may be the one who reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist, median

from studio.annotation.review_records import Estimate, PersonReport
from studio.stats import Interval, wilson_interval

_CONFIDENCE = 0.95
#: Somebody who follows the guideline answers at least this share of gold and of repeats as expected.
_EXPECTED = 0.7
#: A median time or a share of skips is compared once it stands on so many labels.
_ENOUGH = 10
#: Somebody this many times faster or slower than the median of the team reads differently, or not at all.
_SPEED_FACTOR = 3.0
_MANY_SKIPS = 0.3


def flagged(people: Sequence[PersonReport]) -> tuple[PersonReport, ...]:
    """The same people with their flags; those whose account is gone get none and are not compared with."""
    present = [one for one in people if not one.erased]
    confidence = 1 - (1 - _CONFIDENCE) / max(1, len(present))
    usual, common = _usual_seconds(present), _common_agreement(present)
    return tuple(
        one if one.erased else replace(one, flags=_flags(one, confidence, usual, common)) for one in people
    )


def _flags(
    one: PersonReport, confidence: float, usual: float | None, common: float | None
) -> tuple[str, ...]:
    found = (
        _below(one.gold, confidence, "Gold: {share} of {count} right."),
        _below(one.consistency, confidence, "Repeats: {share} of {count} answered as the first time."),
        _side(one.position, confidence),
        _apart(one.agreement, confidence, common),
        _speed(one, usual),
        _skips(one),
    )
    return tuple(flag for flag in found if flag)


def _below(share: Estimate, confidence: float, words: str) -> str:
    if share.value is None or _wilson(share, confidence).high >= _EXPECTED:
        return ""
    return words.format(share=f"{share.value:.0%}", count=share.count)


def _side(share: Estimate, confidence: float) -> str:
    if share.value is None:
        return ""
    interval = _wilson(share, confidence)
    if interval.low <= 0.5 <= interval.high:
        return ""
    side, value = ("A", share.value) if share.value > 0.5 else ("B", 1 - share.value)
    return f"Prefers side {side}: {value:.0%} of {share.count} choices, where sides are drawn by lot."


def _apart(share: Estimate, confidence: float, common: float | None) -> str:
    if share.value is None or share.interval is None or common is None:
        return ""
    wider = _z(confidence) / _z(share.interval.confidence)
    if share.value + wider * (share.interval.high - share.value) >= common:
        return ""
    return f"Agrees with others on {share.value:.0%} of {share.count} items, the team on {common:.0%}."


def _speed(one: PersonReport, usual: float | None) -> str:
    if usual is None or one.median_seconds is None or one.labels < _ENOUGH:
        return ""
    words = f"{one.median_seconds:.1f} s a label, where the team's median is {usual:.1f} s."
    if one.median_seconds * _SPEED_FACTOR < usual:
        return f"Very fast: {words}"
    return f"Slow: {words}" if one.median_seconds > usual * _SPEED_FACTOR else ""


def _skips(one: PersonReport) -> str:
    seen = one.labels + one.skipped
    if seen < _ENOUGH or one.skipped <= _MANY_SKIPS * seen:
        return ""
    return f"Skipped {one.skipped} of {seen} items."


def _usual_seconds(present: Sequence[PersonReport]) -> float | None:
    """The median of people's medians; of two, neither is the usual one."""
    known = [one.median_seconds for one in present if one.labels >= _ENOUGH]
    measured = [seconds for seconds in known if seconds is not None]
    return median(measured) if len(measured) > 2 else None


def _common_agreement(present: Sequence[PersonReport]) -> float | None:
    """The mean agreement over items; two people agree with each other equally, so it takes three."""
    known = [one.agreement for one in present if one.agreement.value is not None]
    if len(known) < 3:
        return None
    return sum((e.value or 0.0) * e.count for e in known) / sum(e.count for e in known)


def _wilson(share: Estimate, confidence: float) -> Interval:
    return wilson_interval(round((share.value or 0.0) * share.count), share.count, confidence)


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf(0.5 + confidence / 2)
