"""What is tried out: the same for one recommendation, another for the next, the better ones more often."""

from collections import Counter
from itertools import permutations

import numpy as np

from services.ranking.ordering import RankedList, Source, drawn
from services.ranking.ordering.exploration import draw_chances


def a_list(*scores: float) -> RankedList:
    count = len(scores)
    sources = np.full(count, Source.EXPLORATION, dtype=np.uint8)
    interest = np.zeros(count, dtype=np.float32)
    return RankedList(np.arange(count, dtype=np.int32), np.array(scores, dtype=np.float32), interest, sources)


def orders(ranked: RankedList, count: int) -> list[tuple[int, ...]]:
    return [tuple(drawn(ranked, f"recommendation {number}").rows.tolist()) for number in range(count)]


def test_one_recommendation_has_one_order_of_all_items() -> None:
    ranked = a_list(3.0, 2.0, 1.0, 0.0)
    again = {tuple(drawn(ranked, "a").rows.tolist()) for _ in range(5)}
    assert len(again) == 1
    assert sorted(next(iter(again))) == [0, 1, 2, 3]
    assert len(set(orders(ranked, 200))) > 10


def test_items_keep_their_scores() -> None:
    found = drawn(a_list(3.0, 2.0, 1.0, 0.0), "b")
    np.testing.assert_array_equal(found.scores, 3.0 - found.rows)


def test_first_places_are_as_likely_as_the_softmax_of_scores() -> None:
    ranked = a_list(2.0, 1.0, 0.0)
    scaled = ranked.scores / ranked.scores.std()
    expected = np.exp(scaled) / np.exp(scaled).sum()
    first = np.bincount([order[0] for order in orders(ranked, 4000)], minlength=3) / 4000
    np.testing.assert_allclose(first, expected, atol=0.03)


def test_items_of_one_score_are_tried_alike() -> None:
    first = np.bincount([order[0] for order in orders(a_list(1.0, 1.0), 2000)], minlength=2) / 2000
    np.testing.assert_allclose(first, 0.5, atol=0.04)


def test_a_list_too_short_to_choose_from_stays() -> None:
    assert drawn(a_list(), "a").rows.size == 0
    assert drawn(a_list(1.0), "a").rows.tolist() == [0]


def test_propensities_are_the_chances_of_every_possible_order() -> None:
    """By enumeration: the chance of an order is that of each of its items, given those before it."""
    ranked = a_list(1.5, 0.0, -1.0, 0.25)
    weights = np.exp(ranked.scores / ranked.scores.std())
    total = 0.0
    for order in permutations(range(4)):
        chances = draw_chances(np.log(weights)[list(order)])
        left, expected = weights.sum(), []
        for item in order:
            expected.append(weights[item] / left)
            left -= weights[item]
        np.testing.assert_allclose(chances, expected, rtol=1e-5)
        total += float(np.prod(chances.astype(np.float64)))
    np.testing.assert_allclose(total, 1.0, rtol=1e-5)


def test_orders_are_drawn_as_often_as_their_propensities_say() -> None:
    ranked, count = a_list(1.0, 0.0, -0.5), 6000
    said: dict[tuple[int, ...], float] = {}
    seen: Counter[tuple[int, ...]] = Counter()
    for number in range(count):
        found = drawn(ranked, f"recommendation {number}")
        assert found.propensities is not None
        order = tuple(found.rows.tolist())
        said[order] = float(np.prod(found.propensities))
        seen[order] += 1
    assert len(said) == 6
    for order, chance in said.items():
        np.testing.assert_allclose(seen[order] / count, chance, atol=0.025)


def test_what_cannot_be_shown_takes_no_chance_from_the_others() -> None:
    ranked = a_list(2.0, 1.0, 0.0)
    whole, part = drawn(ranked, "a"), drawn(ranked, "a", np.array([0], np.int32))
    assert part.rows.tolist() == [row for row in whole.rows.tolist() if row != 0]
    first, second = np.exp(part.scores / ranked.scores.std())
    assert part.propensities is not None
    np.testing.assert_allclose(part.propensities, [first / (first + second), 1.0], rtol=1e-6)


def test_no_chance_is_nothing() -> None:
    assert (draw_chances(np.array([-500.0, 0.0, 500.0])) > 0).all()
    assert draw_chances(np.array([])).size == 0


def test_a_score_far_out_is_not_drawn_nearly_every_time() -> None:
    """One of sixty items lies far from all others: it may come first often, not always."""
    found = orders(a_list(50.0, *np.linspace(0.0, 1.0, 59).tolist()), 500)
    first = np.mean([order[0] == 0 for order in found])
    assert 1 / 60 < first < np.exp(4) / (np.exp(4) + 59)
