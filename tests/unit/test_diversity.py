"""A list in a more varied order: the same items, the first in its place, neighbours less alike by level."""

from itertools import combinations, groupby
from typing import Any

import numpy as np
import pytest
from aisle.v1 import recommendation_service_pb2 as api
from hypothesis import given
from hypothesis import strategies as st

from features.encode import Floats
from features.vocab import Rows
from services.ranking.ordering import NO_ROWS, RankedList, diversity
from services.ranking.ordering.diversity import HIGH_WEIGHT, MEDIUM_WEIGHT, Diversity, diversified, history_weight
from tests.strategies import unhurried
from tests.unit.ordering_inputs import contents

MARGINAL = {Diversity.MEDIUM: MEDIUM_WEIGHT, Diversity.HIGH: HIGH_WEIGHT}
CLUSTERS, SIZE = 10, 12
NO_LEAF = np.full(1000, -1, np.int32)

seeds = st.integers(0, 2**32 - 1)
levels = st.sampled_from(Diversity)
leaves = st.lists(st.integers(-1, 3), max_size=40).map(lambda names: np.array(names, np.int32))


def a_list(rows: Rows) -> RankedList:
    """These rows, each with numbers of its own."""
    rng = np.random.default_rng(rows.size)
    scores = np.sort(rng.standard_normal(rows.size).astype(np.float32))[::-1]
    interest = np.where(rows % 3 == 0, np.nan, rng.random(rows.size)).astype(np.float32)
    return RankedList(rows, scores, interest, rng.integers(1, 10, rows.size).astype(np.uint8))


def in_catalogue_order(count: int) -> RankedList:
    return a_list(np.arange(count, dtype=np.int32))


def random_vectors(seed: int, count: int, width: int = 4) -> Floats:
    """Not of length one; the last is all zeros."""
    vectors = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    vectors[-1:] = 0.0
    return vectors


def by_item(ranked: RankedList) -> dict[int, Any]:
    rows, *numbers = contents(ranked)
    return dict(zip(rows, zip(*numbers, strict=True), strict=True))


def clustered_vectors() -> Floats:
    """Ten clusters of twelve, one after the other; 0.9 alike within a cluster, not at all across."""
    own = np.eye(CLUSTERS * SIZE, dtype=np.float32) * np.float32(np.sqrt(0.1))
    centres = np.repeat(np.eye(CLUSTERS, dtype=np.float32), SIZE, axis=0) * np.float32(np.sqrt(0.9))
    return np.hstack([centres, own])


def similarity_of_first_ten(ranked: RankedList, vectors: Floats) -> float:
    pairs = combinations(ranked.rows[:10].tolist(), 2)
    return float(np.mean([cosine(vectors[one], vectors[other]) for one, other in pairs]))


def cosine(one: Floats, other: Floats) -> float:
    lengths = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return sum(float(a) * float(b) for a, b in zip(one, other, strict=True)) / lengths if lengths else 0.0


# every level


def test_levels_are_named_and_numbered_as_in_the_api() -> None:
    named = {f"DIVERSITY_LEVEL_{level.name}": level.value for level in Diversity}
    assert named | {"DIVERSITY_LEVEL_UNSPECIFIED": 0} == dict(api.DiversityLevel.items())


@pytest.mark.parametrize("level", Diversity)
def test_of_no_item_and_of_one_there_is_one_order(level: Diversity) -> None:
    vectors, history = random_vectors(1, 5), np.array([0, 3], np.int32)
    for count in (0, 1):
        ranked = in_catalogue_order(count)
        assert contents(diversified(ranked, vectors, NO_LEAF, level, history)) == contents(ranked)


def test_none_is_the_list_itself() -> None:
    ranked = in_catalogue_order(5)
    assert diversified(ranked, random_vectors(1, 5), np.zeros(5, np.int32), Diversity.NONE, NO_ROWS) is ranked


@unhurried
@given(seeds, st.integers(1, 40), levels, st.integers(0, 6))
def test_the_same_items_with_their_numbers_and_the_first_in_its_place(
    seed: int, count: int, level: Diversity, history_size: int
) -> None:
    rng = np.random.default_rng(seed)
    ranked = a_list(rng.permutation(60)[:count].astype(np.int32))
    leaf, history = rng.integers(-1, 3, 60).astype(np.int32), rng.integers(0, 60, history_size).astype(np.int32)
    varied = diversified(ranked, random_vectors(seed, 60), leaf, level, history)
    assert len(varied.rows) == count
    assert by_item(varied) == by_item(ranked)
    assert varied.rows[0] == ranked.rows[0]
    for name in ("rows", "scores", "interest", "sources"):
        assert getattr(varied, name).dtype == getattr(ranked, name).dtype


def test_the_first_ten_are_less_alike_with_every_level() -> None:
    vectors, ranked = clustered_vectors(), in_catalogue_order(CLUSTERS * SIZE)
    leaf = np.repeat(np.arange(CLUSTERS, dtype=np.int32), SIZE)
    alike = {
        level: similarity_of_first_ten(diversified(ranked, vectors, leaf, level, NO_ROWS), vectors)
        for level in Diversity
    }
    assert alike[Diversity.NONE] == pytest.approx(0.9)
    assert alike[Diversity.NONE] > alike[Diversity.LOW] > alike[Diversity.MEDIUM] > alike[Diversity.HIGH]


# runs of one category


def slowly_without_runs(leaf: list[int]) -> list[int]:
    """Place by place, the first item left that is no third of its category; the first of all where there is none."""
    left, order = list(range(len(leaf))), list[int]()
    while left:
        two = [leaf[place] for place in order[-2:]]
        fitting = [place for place in left if leaf[place] == -1 or two != [leaf[place]] * 2]
        order.append((fitting or left)[0])
        left.remove(order[-1])
    return order


def test_low_breaks_up_runs_of_three() -> None:
    leaf = np.array([7, 7, 7, 7, 7, 2, 2, 7], np.int32)
    varied = diversified(in_catalogue_order(8), random_vectors(1, 8), leaf, Diversity.LOW, NO_ROWS)
    assert varied.rows.tolist() == [0, 1, 5, 2, 3, 6, 4, 7]


def test_low_leaves_alone_what_has_no_run_and_what_has_no_category() -> None:
    vectors = random_vectors(1, 8)
    for leaf in ([1, 1, 2, 2, 1, 1, 3, 1], [-1] * 8, [1, 1, -1, 1, 1, -1, -1, -1], [4] * 8):
        varied = diversified(in_catalogue_order(8), vectors, np.array(leaf, np.int32), Diversity.LOW, NO_ROWS)
        assert varied.rows.tolist() == list(range(8))


def test_low_asks_for_the_category_of_the_row_not_of_the_place() -> None:
    leaf = np.array([0, 1, 0, 1, 0, 1], np.int32)
    varied = diversified(a_list(np.array([1, 3, 5, 4], np.int32)), random_vectors(1, 6), leaf, Diversity.LOW, NO_ROWS)
    assert varied.rows.tolist() == [1, 3, 4, 5]


@unhurried
@given(leaves)
def test_low_has_no_run_of_three_while_another_category_is_left(leaf: Rows) -> None:
    ranked = in_catalogue_order(leaf.size)
    order = diversified(ranked, np.zeros((40, 1), np.float32), leaf, Diversity.LOW, NO_ROWS).rows.tolist()
    assert order == slowly_without_runs(leaf.tolist())
    runs = [(name, len(list(run))) for name, run in groupby(leaf[order].tolist())]
    assert all(length <= 2 for name, length in runs[:-1] if name >= 0)


# maximal marginal relevance


def assert_marginal(order: list[int], vectors: Floats, weight: float, places: int) -> None:
    """Item by item, in double precision: no item left was worth more than the one taken, but for rounding."""
    relevance = [1.0 - place / max(len(order) - 1, 1) for place in range(len(order))]
    alike = [[cosine(one, other) for other in vectors] for one in vectors]
    for place in range(1, min(places, len(order))):
        worth = {
            item: (1 - weight) * relevance[item] - weight * max(alike[item][earlier] for earlier in order[:place])
            for item in order[place:]
        }
        assert worth[order[place]] >= max(worth.values()) - 1e-5
    assert order[places:] == sorted(order[places:])


def test_medium_and_high_by_hand() -> None:
    """Item 1 is item 0 once more, item 2 is 0.6 alike, item 3 the opposite. Worth of 1, 2, 3 after item 0:
    medium 0.167, 0.053, 0.3; high -0.5, -0.32, 0.7."""
    vectors = np.array([[1, 0], [2, 0], [0.6, 0.8], [-3, 0]], np.float32)
    ranked = in_catalogue_order(4)
    orders = {
        level: diversified(ranked, vectors, NO_LEAF, level, NO_ROWS).rows.tolist()
        for level in (Diversity.MEDIUM, Diversity.HIGH)
    }
    assert orders == {Diversity.MEDIUM: [0, 3, 1, 2], Diversity.HIGH: [0, 3, 2, 1]}


@unhurried
@given(seeds, st.integers(1, 30), st.sampled_from(list(MARGINAL)))
def test_marginal_relevance_takes_the_best_item_left(seed: int, count: int, level: Diversity) -> None:
    vectors = random_vectors(seed, count)
    varied = diversified(in_catalogue_order(count), vectors, NO_LEAF, level, NO_ROWS)
    assert_marginal(varied.rows.tolist(), vectors, MARGINAL[level], count)


def test_marginal_relevance_asks_for_the_vector_of_the_row_not_of_the_place() -> None:
    rows = np.random.default_rng(5).permutation(50)[:20].astype(np.int32)
    vectors = random_vectors(5, 50)
    varied = diversified(a_list(rows), vectors, NO_LEAF, Diversity.HIGH, NO_ROWS)
    place_of = {row: place for place, row in enumerate(rows.tolist())}
    assert_marginal([place_of[row] for row in varied.rows.tolist()], vectors[rows], HIGH_WEIGHT, 20)


@pytest.mark.parametrize("level", MARGINAL)
def test_a_hundred_places_are_chosen_and_the_rest_keep_their_order(level: Diversity) -> None:
    vectors = random_vectors(9, 130)
    varied = diversified(in_catalogue_order(130), vectors, NO_LEAF, level, NO_ROWS).rows.tolist()
    assert_marginal(varied, vectors, MARGINAL[level], 100)
    assert max(varied[:100]) >= 100  # chosen from the whole list


def test_the_level_of_a_score_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diversity, "PLACES", 7)
    vectors, ranked = random_vectors(2, 20), in_catalogue_order(20)
    scaled = RankedList(ranked.rows, 1000 * ranked.scores - 5, ranked.interest, ranked.sources)
    once, again = (diversified(each, vectors, NO_LEAF, Diversity.HIGH, NO_ROWS) for each in (ranked, scaled))
    assert once.rows.tolist() == again.rows.tolist()
    assert_marginal(once.rows.tolist(), vectors, HIGH_WEIGHT, 7)


# as varied as the shopper's own history


def auto(history: list[int]) -> RankedList:
    ranked = in_catalogue_order(CLUSTERS * SIZE)
    return diversified(ranked, clustered_vectors(), NO_LEAF, Diversity.AUTO, np.array(history, np.int32))


def of_level(level: Diversity) -> list[int]:
    ranked = in_catalogue_order(CLUSTERS * SIZE)
    rows: list[int] = diversified(ranked, clustered_vectors(), NO_LEAF, level, NO_ROWS).rows.tolist()
    return rows


def test_auto_is_medium_for_a_history_of_fewer_than_two_items() -> None:
    assert auto([]).rows.tolist() == auto([4, 4, 4]).rows.tolist() == of_level(Diversity.MEDIUM)


def test_auto_is_high_for_a_history_of_unlike_items_and_changes_nothing_for_one_of_like_items() -> None:
    assert auto([0, 12, 24, 119]).rows.tolist() == of_level(Diversity.HIGH)
    vectors = np.tile(np.array([[3.0, 4.0]], np.float32), (9, 1))
    vectors[:6] = random_vectors(1, 6, 2)
    like = np.array([6, 7, 8, 8], np.int32)
    varied = diversified(in_catalogue_order(9), vectors, NO_LEAF, Diversity.AUTO, like)
    assert varied.rows.tolist() == list(range(9))


def test_auto_gives_more_variety_to_a_more_varied_history() -> None:
    vectors = clustered_vectors()
    histories = ([0, 1, 2], [0, 1, 2, 3, 4, 12], [0, 12, 24])
    narrow, some, wide = (similarity_of_first_ten(auto(history), vectors) for history in histories)
    bounds = [
        similarity_of_first_ten(a_list(np.array(of_level(level), np.int32)), vectors)
        for level in (Diversity.NONE, Diversity.HIGH)
    ]
    assert bounds[0] >= narrow > some > wide >= bounds[1]


@unhurried
@given(seeds, st.lists(st.integers(0, 19), max_size=12))
def test_the_weight_of_a_history_follows_the_mean_similarity_of_its_distinct_items(
    seed: int, history: list[int]
) -> None:
    vectors = random_vectors(seed, 20)
    weight = history_weight(vectors, np.array(history, np.int32))
    pairs = [cosine(vectors[one], vectors[other]) for one, other in combinations(sorted(set(history)), 2)]
    expected = HIGH_WEIGHT * min(max(1.0 - sum(pairs) / len(pairs), 0.0), 1.0) if pairs else MEDIUM_WEIGHT
    assert weight == pytest.approx(expected, abs=1e-5)
    assert 0.0 <= weight <= HIGH_WEIGHT


def test_opposite_items_count_no_more_than_unlike_ones() -> None:
    vectors = np.array([[1, 0], [-1, 0]], np.float32)
    assert history_weight(vectors, np.array([0, 1], np.int32)) == HIGH_WEIGHT
