"""What may be in a list: masks over the catalogue, shared between requests, and the few rows each request takes out.

Shapes: N items.

Choices: a mask that many requests share is never written to; whoever takes rows out of one makes a copy, which costs
less at a million items than looking a few hundred rows up in a list of excluded ones.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from features.encode import Shopper
from features.vocab import NO_ROWS, Rows

Mask = npt.NDArray[np.bool_]
"""Which items of the catalogue, bool [N]."""


def mask_without(mask: Mask | None, rows: Rows, item_count: int) -> Mask:
    """A new mask: the given one, or all N rows where there is none, less some rows."""
    left = np.ones(item_count, dtype=np.bool_) if mask is None else mask.copy()
    left[rows] = False
    return left


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What a list may hold."""

    allowed: Mask | None = None
    """Shared, never written to; None: every item."""
    left_out: Rows = field(default_factory=lambda: NO_ROWS)
    """Less these rows, int32, in any order."""
    purchased_within_us: int = 0
    """Nor what the shopper bought in the last so many microseconds."""

    def without(self, rows: Rows) -> "Selection":
        """The same, and nothing of `rows`."""
        return replace(self, left_out=np.concatenate([self.left_out, rows])) if rows.size else self

    def mask(self, item_count: int) -> Mask:
        """What may appear for anybody, as a new mask."""
        return mask_without(self.allowed, self.left_out, item_count)

    def mask_for(self, shopper: Shopper, now_us: int, item_count: int) -> Mask:
        """What may appear for this shopper, as a new mask."""
        mask = self.mask(item_count)
        if self.purchased_within_us:
            bought = shopper.repeat_purchase_us > max(now_us - self.purchased_within_us, 0)
            mask[shopper.repeat_rows[bought]] = False
        return mask


EVERYTHING = Selection()
"""Nothing is left out."""
