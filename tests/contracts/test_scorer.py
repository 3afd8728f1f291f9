"""What every `Scorer` does: the fake must give the answers that the real Triton gives."""

from pathlib import Path

import numpy as np
import pytest

from features.spec import HISTORY_LENGTH
from services.common.scorer import Scorer, ScorerUnavailable, TritonScorer
from services.common.towers import VECTOR_WIDTH, FloatArray, IntArray, TowerModels
from tests.fakes import FakeScorer
from tests.tiny_bundle import write_tiny_bundle

TIMEOUT_SECONDS = 10.0
History = tuple[FloatArray, IntArray, FloatArray]


def a_history(length: int, seed: int = 0) -> History:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((length, VECTOR_WIDTH), np.float32)
    return vectors, rng.integers(1, 10, length), np.sort(rng.exponential(30.0, length).astype(np.float32))[::-1]


class ScorerContract:
    """Inherited by the test class of every implementation, which provides both fixtures."""

    @pytest.fixture
    def scorer(self) -> Scorer:
        raise NotImplementedError

    @pytest.fixture
    def broken_scorer(self) -> Scorer:
        raise NotImplementedError

    @pytest.mark.parametrize(
        "text", ["", "red wine", "ワイン 🍷 vin rouge", "wine " * 2000, "x" * 10_000, "a\x00b", "\ud800"]
    )
    async def test_any_text_becomes_a_vector_of_length_one(self, scorer: Scorer, text: str) -> None:
        vectors = await scorer.text_vectors([text], TIMEOUT_SECONDS)
        assert vectors.shape == (1, VECTOR_WIDTH)
        assert vectors.dtype == np.float32
        assert np.linalg.norm(vectors) == pytest.approx(1.0, abs=1e-5)

    async def test_more_texts_than_fit_one_request_keep_their_order(self, scorer: Scorer) -> None:
        texts = [f"wine {'red ' * (number % 7)}{number}" for number in range(150)]
        together = await scorer.text_vectors(texts, TIMEOUT_SECONDS)
        alone = [await scorer.text_vectors([text], TIMEOUT_SECONDS) for text in texts[::10]]
        np.testing.assert_allclose(together[::10], np.concatenate(alone), atol=1e-5)
        assert len(np.unique(together.round(4), axis=0)) == len(texts)

    async def test_no_texts_are_no_vectors(self, scorer: Scorer) -> None:
        assert (await scorer.text_vectors([], TIMEOUT_SECONDS)).shape == (0, VECTOR_WIDTH)

    async def test_one_event_gives_interests_that_point_to_its_item(self, scorer: Scorer) -> None:
        vectors, types, ages = a_history(1)
        interests = await scorer.interest_vectors(vectors, types, ages, TIMEOUT_SECONDS)
        assert interests.dtype == np.float32
        np.testing.assert_allclose(interests, np.repeat(vectors / np.linalg.norm(vectors), 2, axis=0), atol=1e-5)

    @pytest.mark.parametrize("length", [1, 7, HISTORY_LENGTH - 1])
    async def test_a_short_history_equals_one_that_is_padded_at_the_left(self, scorer: Scorer, length: int) -> None:
        vectors, types, ages = a_history(length)
        left = (HISTORY_LENGTH - length, 0)
        padded: History = (np.pad(vectors, [left, (0, 0)]), np.pad(types, left), np.pad(ages, left))
        expected = await scorer.interest_vectors(*padded, TIMEOUT_SECONDS)
        found = await scorer.interest_vectors(vectors, types, ages, TIMEOUT_SECONDS)
        np.testing.assert_allclose(found, expected, atol=1e-6)

    async def test_of_a_long_history_only_the_newest_events_count(self, scorer: Scorer) -> None:
        vectors, types, ages = a_history(HISTORY_LENGTH + 30)
        newest = (vectors[-HISTORY_LENGTH:], types[-HISTORY_LENGTH:], ages[-HISTORY_LENGTH:])
        expected = await scorer.interest_vectors(*newest, TIMEOUT_SECONDS)
        found = await scorer.interest_vectors(vectors, types, ages, TIMEOUT_SECONDS)
        np.testing.assert_allclose(found, expected, atol=1e-6)

    @pytest.mark.parametrize("fault", ["empty", "too few types", "too few ages", "too narrow"])
    async def test_shapes_that_do_not_fit_are_an_error_of_the_caller(self, scorer: Scorer, fault: str) -> None:
        vectors, types, ages = a_history(3)
        bad: dict[str, History] = {
            "empty": a_history(0),
            "too few types": (vectors, types[1:], ages),
            "too few ages": (vectors, types, ages[1:]),
            "too narrow": (vectors[:, 1:], types, ages),
        }
        with pytest.raises(ValueError, match="history_vectors, event_types and ages_days must be"):
            await scorer.interest_vectors(*bad[fault], TIMEOUT_SECONDS)

    async def test_a_scorer_whose_models_answer_is_ready(self, scorer: Scorer) -> None:
        assert await scorer.ready(TIMEOUT_SECONDS)

    async def test_a_scorer_whose_models_do_not_answer_says_so_by_one_error(self, broken_scorer: Scorer) -> None:
        assert not await broken_scorer.ready(TIMEOUT_SECONDS)
        with pytest.raises(ScorerUnavailable, match="unknown_model: "):
            await broken_scorer.interest_vectors(*a_history(3), TIMEOUT_SECONDS)
        with pytest.raises(ScorerUnavailable) as caught:
            await broken_scorer.text_vectors(["wine"], TIMEOUT_SECONDS)
        assert caught.value.reason == "unknown_model"


class TestFakeScorer(ScorerContract):
    @pytest.fixture
    def scorer(self, tmp_path: Path) -> Scorer:
        write_tiny_bundle(tmp_path, "tiny.1", seed=1)
        return FakeScorer.of_bundle(tmp_path)

    @pytest.fixture
    def broken_scorer(self, scorer: FakeScorer) -> Scorer:
        scorer.failure = ScorerUnavailable("unknown_model", "not loaded")
        return scorer


class TestTritonScorer(ScorerContract):
    @pytest.fixture
    async def scorer(self, triton_scorer: TritonScorer) -> Scorer:
        return triton_scorer

    @pytest.fixture
    async def broken_scorer(self, triton_scorer: TritonScorer) -> Scorer:
        return triton_scorer.with_models(TowerModels.of_version("never-built"))
