"""How soon what a shopper does is in what the shopper is shown: a click, and the list that must show it next.

Choices: the probe clicks for a known shopper, drawn evenly, on an item that is not among those viewed last, and asks
for RECENTLY_VIEWED until it is. Its calls are the load test's own, no shopper's, and no rows of their own: one row says
what came of it. The clock starts when the click is acknowledged; one that is not is not sent again, unlike a shopper's.
A list that fails meanwhile does not show the click.

Knows nothing of features or streams.
"""

import uuid
from collections.abc import Callable
from random import Random

from aisle.v1 import event_service_pb2 as events
from aisle.v1.recommendation_service_pb2 import PLACEMENT_RECENTLY_VIEWED, RecommendRequest

from loadtest.population import Population
from loadtest.recording import FRESHNESS, OK
from loadtest.shop import Shop

PROBES_PER_SECOND = 1.0
"""How often to probe: hundreds of samples in a run, and no load to speak of."""
GIVEN_UP_SECONDS = 10.0
NEVER = "DEADLINE_EXCEEDED"
"""The code of a click that no list has shown by then."""

_POLL_SECONDS = 0.05
_PAGE_SIZE = 100


def probe(shop: Shop, population: Population, rng: Random, sleep: Callable[[float], object]) -> None:
    """One click, until it shows.

    Args:
        shop: which writes events; its `record` is told a row of method and journey FRESHNESS: OK, NEVER, or why the
            click could not be written.
        population: whose shoppers and items are used.
        rng: what they are drawn from.
        sleep: of seconds.
    """
    shopper = rng.choice(population.shoppers)
    viewed = _viewed(shop, shopper)
    item = next((item for item in (population.item(rng) for _ in range(100)) if item not in viewed), None)
    if item is None:
        return
    click = events.Event(
        event_id=f"load-probe-{uuid.uuid4().hex}",
        event_type=events.EVENT_TYPE_CLICK,
        user_id=shopper,
        item_id=item,
    )
    written = shop.write([click])
    code, done = written.code, written.done
    if code == OK:
        code, done = _until_shown(shop, shopper, item, written.done, sleep)
    shop.record(FRESHNESS, FRESHNESS, written.done, written.done, done, code, None)


def _until_shown(
    shop: Shop, shopper: str, item: str, since: float, sleep: Callable[[float], object]
) -> tuple[str, float]:
    """The code, and when it was known."""
    while item not in _viewed(shop, shopper):
        if shop.clock() - since >= GIVEN_UP_SECONDS:
            return NEVER, shop.clock()
        sleep(_POLL_SECONDS)
    return OK, shop.clock()


def _viewed(shop: Shop, shopper: str) -> set[str]:
    """What the list shows; nothing where it failed."""
    request = RecommendRequest(placement=PLACEMENT_RECENTLY_VIEWED, user_id=shopper, page_size=_PAGE_SIZE)
    reply = shop.recommend(request).reply
    return set() if reply is None else {result.item_id for result in reply.results}
