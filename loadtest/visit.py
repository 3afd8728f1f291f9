"""One visit: what each page of the shop asks for, and what it tells Aisle of what the shopper did there.

Choices:
- A page is a list and a batch of events: what the shopper did to come here, and that the list was shown, with the
  propensities that the reply gave. Actions on a list carry its `recommendation_id`. Events have no time, which leaves
  that to the server; their ids rise, by which it orders those of one instant.
- A shopper whose list fails leaves (`Left`). One whose list is degraded does not notice. Nobody notices an event that
  was not taken in: the visit goes on, and what is to be sent again goes before the next page's events, under the same
  ids. What is left at the visit's end goes to the shop's outbox, which a shop's server would keep (outbox.py).
- Events are due when the page's list is there: no shopper waits for them.

Knows neither which pages are visited nor how long a shopper thinks.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from aisle.v1 import event_service_pb2 as events
from aisle.v1 import recommendation_service_pb2 as messages

from loadtest.recording import OK
from loadtest.shop import Answer, Shop, unwritten
from services.client import propensities_of

HOME, NEXT_PAGE = "Recommend/HOME", "Recommend/NEXT_PAGE"
SIMILAR, BOUGHT_TOGETHER = "Recommend/SIMILAR", "Recommend/BOUGHT_TOGETHER"
RANK, WRITE_EVENTS = "Rank", "WriteEvents"
METHODS = (HOME, NEXT_PAGE, SIMILAR, BOUGHT_TOGETHER, RANK, WRITE_EVENTS)
"""As `recording.CALLS` has them. NEXT_PAGE goes on with a list of HOME, which costs far less than making one."""

HOME_ITEMS, BESIDE_ITEMS = 20, 10
"""Items of a list that fills a page, and of one that stands beside an item or a cart."""
EXPLORATION = 0.1
"""Share of the home page that is given to items of which little is known."""

Request: TypeAlias = messages.RecommendRequest | messages.RankRequest


class Left(Exception):  # noqa: N818 - what the shopper did
    """The shopper gave up, since a list did not come."""


class Choice(NamedTuple):
    """An item that a shopper has picked."""

    item_id: str
    recommendation_id: str = ""
    """Of the list that it was picked from; empty where it was none."""


class Shown(NamedTuple):
    """A list as the shopper sees it."""

    item_ids: Sequence[str]
    recommendation_id: str
    next_page_token: str
    """Empty where the list ends."""


class Visit:
    """A shopper in the shop."""

    def __init__(self, shop: Shop, journey: str, prices: Mapping[str, float], due: float, user_id: str = "") -> None:
        """Args:
        shop: whom to ask.
        journey: its name, for the record.
        prices: of items, where known.
        due: when the first page is wanted, seconds since the run began.
        user_id: the shopper's; empty: somebody without an account.
        """
        self.due = due
        """When the next call is wanted."""
        self.session_id = f"load-{uuid.uuid4().hex}"
        """Unlike every other, also those of runs with the same seed: the API takes an event id once."""
        self._who = {"user_id": user_id} if user_id else {"visitor_id": f"{self.session_id}-visitor"}
        self._shop, self._journey, self._prices = shop, journey, prices
        self._asked = messages.RecommendRequest()
        self._cart: list[Choice] = []
        self._seen: list[str] = []
        self._unsent: list[events.Event] = []
        self._repeated: set[str] = set()
        self._event_count = 0

    def home(self) -> Shown:
        """The home page; steered by what was looked at in this visit."""
        self._asked = messages.RecommendRequest(
            placement=messages.PLACEMENT_RECOMMENDED_FOR_YOU,
            page_size=HOME_ITEMS,
            context_item_ids=self._seen,
            exploration_weight=EXPLORATION,
            **self._visitor(),
        )
        return self._page(HOME, self._asked, self._shop.recommend(self._asked))

    def next_page(self, shown: Shown) -> Shown:
        """What comes after a page of the home page's list; only where that has a `next_page_token`."""
        self._asked.page_token = shown.next_page_token
        return self._page(NEXT_PAGE, self._asked, self._shop.recommend(self._asked))

    def item(self, choice: Choice) -> Shown:
        """An item's own page, with items like it."""
        if choice.recommendation_id:
            self._act(events.EVENT_TYPE_CLICK, choice)
        self._act(events.EVENT_TYPE_VIEW, choice)
        self._seen.append(choice.item_id)
        return self._beside(SIMILAR, messages.PLACEMENT_SIMILAR_ITEMS, [choice.item_id])

    def search(self, query: str, item_ids: Sequence[str]) -> Shown:
        """The results of a search in the order for this shopper; the first page of them is shown."""
        self._note(events.EVENT_TYPE_SEARCH, search_query=query)
        placement = messages.PLACEMENT_SEARCH_RERANK
        request = messages.RankRequest(placement=placement, item_ids=item_ids, **self._visitor())
        return self._page(RANK, request, self._shop.rank(request))

    def cart(self, choice: Choice) -> Shown:
        """The cart with one more item in it, and what is bought together with all of them."""
        self._act(events.EVENT_TYPE_ADD_TO_CART, choice, quantity=1)
        self._cart.append(choice)
        in_cart = [choice.item_id for choice in self._cart]
        return self._beside(BOUGHT_TOGETHER, messages.PLACEMENT_FREQUENTLY_BOUGHT_TOGETHER, in_cart)

    def purchase(self) -> None:
        """All that is in the cart is bought."""
        for choice in self._cart:
            self._act(events.EVENT_TYPE_PURCHASE, choice, quantity=1)
        self._cart.clear()
        self._send()

    def leave(self) -> None:
        """The end; events that could not be written stay behind."""
        self._shop.outbox.extend(self._unsent)
        self._unsent = []

    def _beside(self, method: str, placement: "messages.Placement", item_ids: Sequence[str]) -> Shown:
        """A page with a list beside items."""
        request = messages.RecommendRequest(
            placement=placement, page_size=BESIDE_ITEMS, context_item_ids=item_ids, **self._visitor()
        )
        return self._page(method, request, self._shop.recommend(request))

    def _visitor(self) -> dict[str, Any]:
        return {**self._who, "session_id": self.session_id}

    def _page(self, method: str, request: Request, answer: Answer[Any]) -> Shown:
        """A page with its list; what was done on the way is told, also where the list fails."""
        self._told(method, answer)
        reply = answer.reply
        if answer.code != OK or reply is None:
            self._send()
            raise Left(f"{method}: {answer.code}")
        results = reply.results[:HOME_ITEMS]
        shown = Shown(
            [result.item_id for result in results],
            reply.recommendation_id,
            getattr(reply, "next_page_token", ""),
        )
        self._note(
            events.EVENT_TYPE_IMPRESSION,
            recommendation_id=shown.recommendation_id,
            placement=request.placement,
            impression_item_ids=shown.item_ids,
            impression_propensities=propensities_of(results),
        )
        self._send()
        return shown

    def _act(self, event_type: "events.EventType", choice: Choice, **facts: Any) -> None:
        """Something done to an item."""
        known = {"price": self._prices[choice.item_id]} if choice.item_id in self._prices else {}
        self._note(event_type, item_id=choice.item_id, recommendation_id=choice.recommendation_id, **known, **facts)

    def _note(self, event_type: "events.EventType", **facts: Any) -> None:
        """Something that happened, to be sent with the page's events."""
        if self._shop.events is None:
            return
        self._event_count += 1
        event_id = f"{self.session_id}-{self._event_count:04d}"
        self._unsent.append(events.Event(event_id=event_id, event_type=event_type, **self._visitor(), **facts))

    def _send(self) -> None:
        if not self._unsent:
            return
        answer = self._shop.write(self._unsent, self._repeated)
        self._told(WRITE_EVENTS, answer)
        self._unsent = unwritten(self._unsent, answer)
        self._repeated = {event.event_id for event in self._unsent}

    def _told(self, method: str, answer: Answer[Any]) -> None:
        self._shop.record(method, self._journey, self.due, answer.sent, answer.done, answer.code, answer.reply)
        self.due = answer.done
