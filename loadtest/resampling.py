"""How sure a figure of a run is: block bootstrap over time (Künsch 1989, blocks that do not overlap). Pure.

Calls of one moment share what happened to the machine at that moment, so that a run of 3,000 calls is not 3,000
independent observations. Blocks of seconds are drawn with replacement instead of calls: one bad moment, which a
resample may well lack, proves nothing; what is slow throughout is slow in every resample.

R resamples, B blocks, N observations, Q quantiles.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Interval = tuple[float, float]

RESAMPLES = 1_000
BLOCK_SECONDS = 2.0
"""A stretch of three blocks is missing from one resample in twenty, so that it lies within a 95 % interval whether it
counts or not; a stretch of four is proof."""
MIN_BLOCKS, MAX_BLOCKS = 10, 300
"""A short run has shorter blocks and a long one longer blocks, so that there are so many."""
BIN = 0.01
"""Quantiles of resamples are told to 1 %: times are counted in bins of that width on a logarithmic scale, so that
memory and time do not grow with the calls."""
_LEAST_MS = 1e-3


@dataclass(frozen=True, slots=True)
class Blocks:
    """A run cut into blocks of time, and how often each resample drew each of them."""

    numbers: npt.NDArray[np.int64]
    """[B] ascending: which blocks of the clock hold calls."""
    seconds: float
    """Length of a block."""
    drawn: Doubles
    """[R, B] how often; rows sum to B."""

    @classmethod
    def draw(cls, due_s: Doubles, seed: int) -> "Blocks":
        """Cut at the times at which calls were due [N], at least one."""
        span = float(np.ptp(due_s))
        seconds = min(max(BLOCK_SECONDS, span / MAX_BLOCKS), span / MIN_BLOCKS) or BLOCK_SECONDS
        numbers = np.unique(np.floor(due_s / seconds).astype(np.int64))
        rng = np.random.default_rng(seed)
        drawn = rng.multinomial(numbers.size, np.full(numbers.size, 1 / numbers.size), size=RESAMPLES)
        return cls(numbers, seconds, drawn.astype(np.float64))

    def quantiles(self, due_s: Doubles, ms: Doubles, quantiles: Sequence[float]) -> Doubles:
        """Of times ms [N], resampled: [R, Q], precise to BIN; NaN where a resample holds none of them."""
        bins = np.rint(np.log(np.maximum(ms, _LEAST_MS)) / BIN).astype(np.int64)
        least = int(bins.min())
        counts = np.zeros((self.numbers.size, int(bins.max()) - least + 1))
        np.add.at(counts, (self._block_of(due_s), bins - least), 1.0)
        reached = np.cumsum(self.drawn @ counts, axis=1)
        total = reached[:, -1:]
        found = [np.argmax(reached >= share * total - 1e-9, axis=1) for share in quantiles]
        values: Doubles = np.exp((np.stack(found, axis=1) + least) * BIN)
        values[total[:, 0] == 0] = np.nan
        return values

    def shares(self, due_s: Doubles, flags: Flags) -> Doubles:
        """Share of flags [N] that are set, resampled: [R]; NaN where a resample holds none of the observations."""
        block = self._block_of(due_s)
        hits = self.drawn @ np.bincount(block, weights=flags, minlength=self.numbers.size)
        sizes = self.drawn @ np.bincount(block, minlength=self.numbers.size).astype(np.float64)
        shares: Doubles = np.divide(hits, sizes, out=np.full(hits.size, np.nan), where=sizes > 0)
        return shares

    def _block_of(self, due_s: Doubles) -> npt.NDArray[np.int64]:
        """Places in `numbers` [N]; every one of them must have been there when it was cut."""
        return np.searchsorted(self.numbers, np.floor(due_s / self.seconds).astype(np.int64))


def interval_of(draws: Doubles, confidence: float) -> Interval:
    """Percentile interval of resampled figures [R]; NaN are left out, all NaN are an interval of NaN."""
    known = draws[~np.isnan(draws)]
    if not known.size:
        return float("nan"), float("nan")
    tail = (1 - confidence) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)
