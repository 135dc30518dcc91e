"""Statistics without the studio: pure functions on numbers.

Nothing here knows a model, a vote or a dataset; the rooms above hand in counts and get estimates with
their uncertainty. Each formula names its source and is tested against published values.
"""

from studio.stats.agreement import (
    Agreement,
    Ints,
    Scale,
    Undefined,
    alpha_with_interval,
    count_values,
    krippendorff_alpha,
)
from studio.stats.dawid_skene import DawidSkene, Labels, dawid_skene
from studio.stats.intervals import Interval, ratio_interval, wilson_interval
from studio.stats.kappa import cohen_kappa, kappa_with_interval

__all__ = [
    "Agreement",
    "DawidSkene",
    "Interval",
    "Ints",
    "Labels",
    "Scale",
    "Undefined",
    "alpha_with_interval",
    "cohen_kappa",
    "count_values",
    "dawid_skene",
    "kappa_with_interval",
    "krippendorff_alpha",
    "ratio_interval",
    "wilson_interval",
]
