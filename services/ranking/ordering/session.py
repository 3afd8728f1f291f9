"""What is on the page or in the cart now, as the newest events of a shopper: it steers a list at once, and gives those
without an account a history."""

from dataclasses import replace

import numpy as np

from features import spec
from features.encode import Shopper
from features.vocab import Rows


def in_session(shopper: Shopper, context_rows: Rows, now_us: int) -> Shopper:
    """The shopper as if they had just viewed `context_rows` int32 [C], the last of them latest.

    Only what is latest changes (history, last event): counts and affinities are of what is known to have happened.
    """
    if not context_rows.size:
        return shopper
    kept = slice(-spec.HISTORY_LENGTH, None)
    views = np.full(context_rows.size, spec.EVENT_CODES["view"], dtype=np.int64)
    times = np.full(context_rows.size, now_us, dtype=np.int64)
    return replace(
        shopper,
        last_event_us=max(shopper.last_event_us, now_us),
        history_rows=np.concatenate([shopper.history_rows, context_rows])[kept],
        history_event_types=np.concatenate([shopper.history_event_types, views])[kept],
        history_times_us=np.concatenate([shopper.history_times_us, times])[kept],
    )
