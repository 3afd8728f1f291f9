"""What is tried out: the same for one recommendation, another for the next, the better ones more often."""

import numpy as np

from services.ranking.ordering import RankedList, Source, drawn


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
