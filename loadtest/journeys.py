"""How shoppers go through the shop, page by page, and how many do which.

Choices: a journey is a function that yields where its shopper thinks. Every journey goes to its end, which no real
funnel does: else the lists of its last pages would be too few in a minute to say anything of their p99.

Knows nothing of gRPC, of processes or of time.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from loadtest.population import Population, Zipf
from loadtest.shop import Shop
from loadtest.visit import HOME_ITEMS, Choice, Left, Shown, Visit

SCROLLED_PAGES = 5
"""Pages of one list after which everybody has scrolled enough."""
LINKED_SHARE = 0.5
"""Of item pages behind a home page: those that a link from elsewhere led to, rather than the list."""

Steps: TypeAlias = Iterator[None]
"""A journey under way; each next step is a page that the shopper goes to after a while."""

_PLACES = [Zipf(count) for count in range(1, HOME_ITEMS + 1)]


def browse(visit: Visit, population: Population, rng: Random) -> Steps:
    """Home, an item, one like it, into the cart, something that goes with it as well, and buy."""
    home = visit.home()
    yield
    similar = visit.item(_linked_or_picked(home, population, rng))
    yield
    alike = _picked(similar, rng)
    visit.item(alike)
    yield
    together = visit.cart(alike)
    yield
    visit.cart(_picked(together, rng))
    yield
    visit.purchase()


def search(visit: Visit, population: Population, rng: Random) -> Steps:
    """A search of the shop, ordered for this shopper; an item that it found, into the cart."""
    query = population.query(rng)
    found = visit.search(query, population.search(query))
    yield
    chosen = _picked(found, rng)
    visit.item(chosen)
    yield
    visit.cart(chosen)


def scroll(visit: Visit, population: Population, rng: Random) -> Steps:  # noqa: ARG001 - a journey's
    """Home, and on and on in the same list, to its end or until it is enough; an item of the last page."""
    shown = visit.home()
    for _ in range(SCROLLED_PAGES - 1):
        if not shown.next_page_token:
            break
        yield
        shown = visit.next_page(shown)
    yield
    visit.item(_picked(shown, rng))


def anonymous(visit: Visit, population: Population, rng: Random) -> Steps:
    """Somebody without an account, led to an item from elsewhere, who looks around: only this visit says what for."""
    visit.item(Choice(population.item(rng)))
    yield
    home = visit.home()
    yield
    visit.item(_picked(home, rng))
    yield
    visit.home()


@dataclass(frozen=True, slots=True)
class Journey:
    """A way through the shop."""

    name: str
    weight: float
    """Its share of the visits, among the weights of all."""
    steps: Callable[[Visit, Population, Random], Steps]
    has_account: bool = True
    """Whether its shoppers are known ones."""

    def run(
        self,
        shop: Shop,
        population: Population,
        rng: Random,
        due: float,
        pause: Callable[[], float],
    ) -> None:
        """One visit, to its end or to the first list that fails.

        Args:
            shop: whom to ask; its `record` is told of every call, its `outbox` gets events that are to be sent again.
            population: who comes and what for.
            rng: what the visit is drawn from.
            due: when it is due, seconds since the run began.
            pause: thinks for a while and says when the next page is due.
        """
        user_id = population.shopper(rng) if self.has_account else ""
        visit = Visit(shop, self.name, population.prices, due, user_id)
        try:
            with suppress(Left):
                for _ in self.steps(visit, population, rng):
                    visit.due = pause()
        finally:
            visit.leave()


_TABLE = (
    Journey("browse", 40, browse),
    Journey("search", 25, search),
    Journey("scroll", 15, scroll),
    Journey("anonymous", 20, anonymous, has_account=False),
)
JOURNEYS: Mapping[str, Journey] = {journey.name: journey for journey in _TABLE}
"""All journeys by name. The weights are an assumption, for want of a public record of how a shop's visits divide: most
visitors browse, a quarter knows what to look for, a fifth has no account, and scrolling to the end is rare. So home
pages and similar items, which a shop shows most, are most of the lists, and there are enough of every other kind."""


def drawn(journeys: Mapping[str, Journey], rng: Random) -> Journey:
    """One of the journeys by their weights."""
    (journey,) = rng.choices(list(journeys.values()), [journey.weight for journey in journeys.values()])
    return journey


def _picked(shown: Shown, rng: Random) -> Choice:
    """An item of a list, most often the first ones."""
    place = _PLACES[len(shown.item_ids) - 1].draw(rng)
    return Choice(shown.item_ids[place], shown.recommendation_id)


def _linked_or_picked(shown: Shown, population: Population, rng: Random) -> Choice:
    return Choice(population.item(rng)) if rng.random() < LINKED_SHARE else _picked(shown, rng)
