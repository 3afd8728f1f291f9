"""The ranker's evaluation, and the models that it refuses."""

from pathlib import Path

import lightgbm
import numpy as np
import pytest

from features import spec
from services.ranking.ordering import Ranker
from tests.tiny_shop import TinyShop, ranker_text

COLUMNS = spec.MATRIX_COLUMNS


def a_matrix(rows: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.random.default_rng(5).standard_normal((rows, len(COLUMNS))).astype(np.float32)


def text_over(*columns: str) -> str:
    return ranker_text(np.random.default_rng(1), columns)


def test_scores_are_those_of_lightgbm(shop: TinyShop, tmp_path: Path) -> None:
    (tmp_path / "ranker.txt").write_text(shop.ranker_text)
    scores = Ranker.load(tmp_path / "ranker.txt").score(a_matrix(50))
    assert scores.dtype == np.float32
    expected = lightgbm.Booster(model_str=shop.ranker_text).predict(a_matrix(50))
    np.testing.assert_array_equal(scores, np.asarray(expected, dtype=np.float32))
    assert len(np.unique(scores)) > 25


def test_no_rows_have_no_scores(shop: TinyShop) -> None:
    assert Ranker(shop.ranker_text).score(a_matrix(0)).shape == (0,)


def test_the_first_column_that_differs_is_named() -> None:
    swapped = [COLUMNS[0], COLUMNS[2], COLUMNS[1], *COLUMNS[3:]]
    with pytest.raises(ValueError, match="ranker column 1 is 'item_log_weight_7d', the matrix has 'item_log_users'"):
        Ranker(text_over(*swapped))


def test_a_model_of_fewer_columns_is_refused() -> None:
    with pytest.raises(ValueError, match=f"ranker has {len(COLUMNS) - 1} columns, the matrix has {len(COLUMNS)}"):
        Ranker(text_over(*COLUMNS[:-1]))


def test_a_text_that_is_no_model_is_refused(shop: TinyShop) -> None:
    with pytest.raises(ValueError, match="ranker: "):
        Ranker("not a model")
    with pytest.raises(ValueError, match="ranker: "):
        Ranker(shop.ranker_text[:2000])
