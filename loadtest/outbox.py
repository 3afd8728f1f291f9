"""Sends events again that could not be written and that no visit carries any more.

Choices:
- One call at a time, the oldest events first; after an attempt that did not help the pause doubles, up to two seconds,
  so that a service that comes back is not met by all that it missed at once.
- An event is never dropped while the run lasts. One that has not been taken in a little after its end is LOST, a failed
  call each: so a run without failed calls has lost nothing.
- An event that is refused for good goes no further; its call has failed by that.

Knows neither Locust nor gevent.
"""

import math
from collections.abc import Callable

from loadtest.recording import LOST
from loadtest.shop import Shop, unwritten
from loadtest.visit import WRITE_EVENTS

OUTBOX = "outbox"
"""The journey of its calls."""
MOST_EVENTS = 100
"""In one call."""
LEAST_PAUSE_SECONDS, MOST_PAUSE_SECONDS = 0.1, 2.0
GRACE_SECONDS = 10.0
"""How long after the run's end a service may come back."""


def deliver(shop: Shop, sleep: Callable[[float], object], is_over: Callable[[], bool]) -> None:
    """Empty the shop's outbox again and again, until nothing comes any more or nothing helps.

    Args:
        shop: whose `record` is told of every call and of every event that is lost.
        sleep: of seconds.
        is_over: whether every visit has ended.
    """
    pause, deadline = LEAST_PAUSE_SECONDS, math.inf
    while True:
        if is_over():
            deadline = min(deadline, shop.clock() + GRACE_SECONDS)
            if not shop.outbox or shop.clock() >= deadline:
                break
        due = shop.clock() + pause
        sleep(pause)
        pause = LEAST_PAUSE_SECONDS if _emptied(shop, due) else min(2 * pause, MOST_PAUSE_SECONDS)
    now = shop.clock()
    for _ in shop.outbox:
        shop.record(WRITE_EVENTS, OUTBOX, now, now, now, LOST, None)
    shop.outbox.clear()


def _emptied(shop: Shop, due: float) -> bool:
    """Send all that is there, as long as it is taken in; whether it all was."""
    for _ in range(math.ceil(len(shop.outbox) / MOST_EVENTS)):
        again = [shop.outbox.popleft() for _ in range(min(MOST_EVENTS, len(shop.outbox)))]
        answer = shop.write(again, {event.event_id for event in again})
        shop.record(WRITE_EVENTS, OUTBOX, due, answer.sent, answer.done, answer.code, answer.reply)
        due = answer.done
        if left := unwritten(again, answer):
            shop.outbox.extendleft(reversed(left))
            return False
    return True
