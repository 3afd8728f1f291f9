"""What every baseline promises, and that those with a model find the one right answer of a shop made for it."""

from dataclasses import replace

import numpy as np
import pytest

from features.encode import Floats
from tests.unit.baseline_shop import (
    AS_OF_US,
    ITEM_COUNT,
    KINDS,
    NEVER_SOLD,
    NEWCOMER,
    SHOPPERS_PER_KIND,
    STRANGER,
    history,
    items_of_kind,
    kinds_of_shoppers,
)
from training.baselines import (
    Ease,
    ItemKnn,
    Popularity,
    RecencyFrequency,
    RecentPopularity,
    ZeroShot,
    fit_als,
    fit_bpr,
    item_neighbours,
    top,
)
from training.baselines.spaces import Scores
from training.dataset import Sequences
from training.metrics import Doubles


@pytest.fixture(scope="module")
def sequences() -> Sequences:
    return kinds_of_shoppers()


def vectors() -> Floats:
    """Unit vectors that are alike within a kind."""
    drawn = np.random.default_rng(0).standard_normal((ITEM_COUNT, 16)) / 8
    drawn[np.arange(ITEM_COUNT), np.minimum(np.arange(ITEM_COUNT) // 8, KINDS)] += 1
    unit: Floats = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    return unit


class BaselineContract:
    """Inherited by every baseline's tests."""

    def make(self, sequences: Sequences) -> Scores:
        """The baseline under test."""
        raise NotImplementedError

    def everybody(self, sequences: Sequences) -> dict[str, Doubles]:
        """Scores of every shopper, of one without history and of one unknown."""
        baseline = self.make(sequences)
        return {user_id: baseline.scores(user_id) for user_id in [*sequences.user_ids, STRANGER]}

    def test_every_item_has_a_finite_score_for_everybody(self, sequences: Sequences) -> None:
        for scores in self.everybody(sequences).values():
            assert scores.shape == (ITEM_COUNT,)
            assert scores.dtype == np.float64
            assert np.isfinite(scores).all()

    @pytest.mark.parametrize("user_id", [NEWCOMER, STRANGER])
    def test_without_history_the_order_is_that_of_popularity(self, sequences: Sequences, user_id: str) -> None:
        assert user_id in {*sequences.user_ids, STRANGER}
        nothing = np.empty(0, dtype=np.int32)
        found = top(self.make(sequences).scores(user_id), ITEM_COUNT, nothing)
        assert found.tolist() == top(sequences.counts, ITEM_COUNT, nothing).tolist()

    def test_a_shop_without_events_gets_every_item(self, sequences: Sequences) -> None:
        for scores in self.everybody(without_events(sequences)).values():
            assert top(scores, ITEM_COUNT, np.empty(0, dtype=np.int32)).size == ITEM_COUNT

    def test_masked_items_are_never_returned(self, sequences: Sequences) -> None:
        for user, scores in enumerate(self.everybody(sequences).values()):
            masked = items_of_kind(user % KINDS)
            found = top(scores, ITEM_COUNT, masked)
            assert found.size == ITEM_COUNT - masked.size
            assert not np.isin(found, masked).any()

    def test_the_same_seed_gives_the_same_scores(self, sequences: Sequences) -> None:
        once, again = self.everybody(sequences), self.everybody(sequences)
        for user_id, scores in once.items():
            np.testing.assert_array_equal(scores, again[user_id])

    def test_scores_belong_to_the_caller(self, sequences: Sequences) -> None:
        baseline = self.make(sequences)
        for user_id in ("user-000", NEWCOMER, STRANGER):
            before = baseline.scores(user_id).copy()
            baseline.scores(user_id)[:] = 99
            np.testing.assert_array_equal(baseline.scores(user_id), before)


class ModelContract(BaselineContract):
    """Inherited by those that can tell kinds of shoppers apart."""

    def test_the_rest_of_their_kind_comes_first(self, sequences: Sequences) -> None:
        baseline = self.make(sequences)
        for user in range(KINDS * SHOPPERS_PER_KIND):
            bought = history(sequences, user)
            missing = np.setdiff1d(items_of_kind(user // SHOPPERS_PER_KIND), bought)
            found = top(baseline.scores(sequences.user_ids[user]), missing.size, bought)
            assert sorted(found.tolist()) == missing.tolist()


class SoldContract(ModelContract):
    """Inherited by those that learn from sales alone."""

    def test_what_was_never_sold_comes_behind_the_shoppers_kind(self, sequences: Sequences) -> None:
        for scores in list(self.everybody(sequences).values())[: KINDS * SHOPPERS_PER_KIND]:
            assert NEVER_SOLD not in top(scores, 8, np.empty(0, dtype=np.int32))


def without_events(sequences: Sequences) -> Sequences:
    """The same shoppers before anything happened."""
    no_events = {
        name: getattr(sequences, name)[:0] for name in ("rows", "weights", "event_types", "times_us", "sessions")
    }
    return replace(sequences, starts=sequences.starts * 0, counts=sequences.counts * 0, **no_events)


class TestPopularity(BaselineContract):
    def make(self, sequences: Sequences) -> Scores:
        return Popularity(sequences)


class TestRecentPopularity(BaselineContract):
    def make(self, sequences: Sequences) -> Scores:
        return RecentPopularity(sequences, AS_OF_US, days=20.0)


class TestRecencyFrequency(BaselineContract):
    def make(self, sequences: Sequences) -> Scores:
        return RecencyFrequency(sequences, AS_OF_US)


class TestItemKnn(SoldContract):
    def make(self, sequences: Sequences) -> Scores:
        return ItemKnn(sequences, item_neighbours(sequences, shrinkage=5, neighbours=6), half_life_days=30)


class TestItemKnnWithText(SoldContract):
    def make(self, sequences: Sequences) -> Scores:
        similar = item_neighbours(sequences, shrinkage=5, neighbours=6)
        return ItemKnn(sequences, similar, 30, own=1.0, text=0.2, nearby=ZeroShot(sequences, vectors()))


class TestEase(SoldContract):
    def make(self, sequences: Sequences) -> Scores:
        return Ease(sequences, max_items=1000, l2=1.0)


class TestEaseOfFewItems(BaselineContract):
    def make(self, sequences: Sequences) -> Scores:
        return Ease(sequences, max_items=5, l2=1.0)


class TestAls(SoldContract):
    seed = 3

    def make(self, sequences: Sequences) -> Scores:
        return fit_als(sequences, factors=KINDS, l2=0.1, confidence=10, seed=self.seed)


class TestBpr(SoldContract):
    seed = 3

    def make(self, sequences: Sequences) -> Scores:
        return fit_bpr(sequences, factors=8, l2=0.01, learning_rate=0.1, iterations=200, seed=self.seed)


class TestZeroShot(ModelContract):
    def make(self, sequences: Sequences) -> Scores:
        return ZeroShot(sequences, vectors(), last=3)


@pytest.mark.parametrize("contract", [TestAls, TestBpr])
def test_factors_start_from_their_seed(contract: type[TestAls] | type[TestBpr], sequences: Sequences) -> None:
    one, other = contract(), contract()
    other.seed = 4
    assert not np.array_equal(one.make(sequences).scores("user-000"), other.make(sequences).scores("user-000"))
