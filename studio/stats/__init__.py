"""Statistics without the studio: pure functions on numbers.

Nothing here knows a model, a vote or a dataset; the rooms above hand in counts and get estimates with
their uncertainty. Each formula names its source and is tested against published values.
"""

from studio.stats.intervals import Interval, ratio_interval, wilson_interval

__all__ = ["Interval", "ratio_interval", "wilson_interval"]
