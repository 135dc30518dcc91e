"""Several sources in one run: which rows an epoch has, and in which order.

An epoch is long enough that every row of the main source comes once; the share of another source's rows
is its weight over the sum of all weights. Where that is less than it has, the next epoch goes on with the
rest; where it is more, its rows come again, all of them equally often. Everything follows from the seed
and the number of the epoch alone, so a resumed run sees the rows it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mixture:
    """Sources that lie behind each other in one list of rows, the main one first.

    ``sizes`` are their numbers of rows, ``weights`` what they count against each other.
    """

    sizes: tuple[int, ...]
    weights: tuple[float, ...]
    seed: int

    def __len__(self) -> int:
        """Rows of an epoch."""
        return sum(self.counts)

    @property
    def counts(self) -> tuple[int, ...]:
        """Rows of each source in an epoch; one at least."""
        main = self.sizes[0] / self.weights[0]
        others = (max(1, round(main * weight)) for weight in self.weights[1:])
        return (self.sizes[0], *others)

    def order(self, epoch: int) -> list[int]:
        """The rows of epoch ``epoch`` (from 0) in their order, as places in the list of all rows."""
        starts = np.cumsum((0, *self.sizes[:-1]))
        drawn = [starts[source] + self._drawn(source, epoch) for source in range(len(self.sizes))]
        rows = np.concatenate(drawn)
        np.random.default_rng((self.seed, len(self.sizes), epoch)).shuffle(rows)
        return [int(row) for row in rows]

    def _drawn(self, source: int, epoch: int) -> np.ndarray:
        """The rows of a source that an epoch takes out of its endless shuffled stream."""
        size, count = self.sizes[source], self.counts[source]
        first = epoch * count
        rounds = range(first // size, (first + count - 1) // size + 1)
        stream = np.concatenate([self._shuffled(source, lap) for lap in rounds])
        offset = first - rounds.start * size
        return stream[offset : offset + count]

    def _shuffled(self, source: int, lap: int) -> np.ndarray:
        return np.random.default_rng((self.seed, source, lap, 1)).permutation(self.sizes[source])


class MixtureSampler:
    """A mixture's order, as a data loader takes it; ``set_epoch`` is called at the start of each."""

    def __init__(self, mixture: Mixture) -> None:
        self._mixture = mixture
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Take the rows of epoch ``epoch``."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Rows of an epoch."""
        return len(self._mixture)

    def __iter__(self) -> Iterator[int]:
        """The rows of the epoch in their order."""
        return iter(self._mixture.order(self._epoch))


def sample(count: int, wanted: int, seed: int) -> list[int]:
    """``wanted`` of ``count`` places in their order, the same for the same seed; all of them for 0."""
    if not wanted or wanted >= count:
        return list(range(count))
    chosen = np.random.default_rng((seed, count)).choice(count, wanted, replace=False)
    return sorted(int(place) for place in chosen)
