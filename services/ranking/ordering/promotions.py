"""Promoted items into a list: pinned where the shop wants them, the others spread evenly over every page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from features.vocab import Rows
from services.ranking.ordering.candidates import Source
from services.ranking.ordering.rank import RankedList, joined
from services.ranking.ordering.selection import Mask


@dataclass(frozen=True, slots=True)
class Promoted:
    """One promotion and its items."""

    ranked: RankedList
    """Best first."""
    percent: int
    """Of the places of each page, 0 to 100, rounded down to whole places."""
    pinned_position: int = 0
    """Where on the first page the best item stands, 1 for the top; 0: nowhere in particular."""
    source: Source = Source.PROMOTION
    """What its items are marked with."""


def with_promotions(ranked: RankedList, promotions: Sequence[Promoted], page_size: int) -> RankedList:
    """The list with promoted items in it, each once and marked with its promotion's source.

    An item that two promotions want goes to the earlier one. The other places keep the list's order, and scores stay
    with their items. Where the list runs short, promoted items move up.

    Args:
        ranked: The list as it would be without promotions.
        promotions: In the order of their rights; percentages sum to at most 100.
        page_size: Places of a page, at least 1.
    """
    own = [_without_earlier(promotions, number) for number in range(len(promotions))]
    placed = _placed(own, max(-(-ranked.rows.size // page_size), 1), page_size)
    if not placed:
        return ranked
    places = np.array(sorted(placed))
    entries = [placed[place] for place in places.tolist()]
    promoted = [own[number].ranked.tail(item).head(1).marked(own[number].source) for number, item in entries]
    organic = ranked.without(np.concatenate([one.rows for one in promoted]))
    size = organic.rows.size + places.size
    places = np.minimum(places, size - places.size + np.arange(places.size))
    is_promoted = np.zeros(size, dtype=bool)
    is_promoted[places] = True
    return _merged(organic, promoted, is_promoted)


def _without_earlier(promotions: Sequence[Promoted], number: int) -> Promoted:
    """A promotion without what earlier ones promote."""
    one = promotions[number]
    earlier: list[Rows] = [other.ranked.rows for other in promotions[:number]]
    return replace(one, ranked=one.ranked.without(np.concatenate(earlier))) if earlier else one


def _placed(promotions: Sequence[Promoted], pages: int, page_size: int) -> dict[int, tuple[int, int]]:
    """Place in the whole list → number of the promotion and of its item."""
    placed: dict[int, tuple[int, int]] = {}
    queues = [iter(range(one.ranked.rows.size)) for one in promotions]
    for page in range(pages):
        free = list(range(page * page_size, (page + 1) * page_size))
        spread: list[tuple[int, int]] = []
        for number, one in enumerate(promotions):
            left = one.percent * page_size // 100
            if page == 0 and one.pinned_position and free:
                left = max(left - 1, 0)
                for item in _next(queues[number], 1):
                    placed[_nearest(free, one.pinned_position - 1)] = (number, item)
            spread += [(number, item) for item in _next(queues[number], left)]
        for order, entry in enumerate(_in_turn(spread)[: len(free)]):
            target = page * page_size + (2 * order + 1) * page_size // (2 * len(spread))
            placed[_nearest(free, target)] = entry
    return placed


def _next(queue: Iterator[int], count: int) -> list[int]:
    return [item for _, item in zip(range(count), queue, strict=False)]


def _nearest(free: list[int], place: int) -> int:
    """Take the free place at `place` or the next one behind it, or else the last before it."""
    position = next((number for number, one in enumerate(free) if one >= place), len(free) - 1)
    return free.pop(position)


def _in_turn(entries: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Every promotion's first item, then every second one, …"""
    turns: dict[int, int] = {}
    keyed = []
    for number, item in entries:
        turns[number] = turns.get(number, 0) + 1
        keyed.append((turns[number], number, item))
    return [(number, item) for _, number, item in sorted(keyed)]


def _merged(organic: RankedList, promoted: Sequence[RankedList], is_promoted: Mask) -> RankedList:
    """Both in their order, the promoted items where `is_promoted` bool [n] says so."""
    places = np.empty(is_promoted.size, dtype=np.int64)
    places[is_promoted] = organic.rows.size + np.arange(len(promoted))
    places[~is_promoted] = np.arange(organic.rows.size)
    return joined([organic, *promoted]).in_order(places)
