"""The ranker's matrix against an oracle that fills one cell at a time, and against a golden one on disk."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from features import spec
from features.encode import ItemColumns, ModelScores, Shopper, encode, history_ages_days, item_columns, resolve
from features.offline import polars_type
from features.schema import ITEMS
from tests.encode_oracle import AS_OF_DAY, NOW_US, columns_of, oracle, random_row, random_scores, random_shelf
from tests.shop import DAY_US, day, day_us, item, items
from tests.strategies import unhurried

GOLDEN = Path(__file__).parents[1] / "golden" / "encode.json"


@unhurried
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 12), fallback=st.booleans())
@example(seed=0, count=1, fallback=False)
def test_every_cell_is_what_the_oracle_says(seed: int, count: int, *, fallback: bool) -> None:
    rng = np.random.default_rng(seed)
    shelf, row = random_shelf(rng, count), random_row(rng, count)
    rows = rng.permutation(count)[: rng.integers(0, count + 1)].astype(np.int32)
    scores = random_scores(rng, rows.size, fallback=fallback)
    columns = columns_of(shelf)
    matrix = encode(resolve(row, columns), columns, rows, scores, NOW_US)
    expected = oracle(row, shelf, rows.tolist(), scores, day_us(AS_OF_DAY), NOW_US)
    assert matrix.dtype == np.float32
    assert matrix.shape == (rows.size, len(spec.MATRIX_COLUMNS))
    for position, name in enumerate(spec.MATRIX_COLUMNS):
        np.testing.assert_allclose(
            matrix[:, position], [line[position] for line in expected], rtol=2e-5, atol=1e-5, err_msg=name
        )


def test_an_unknown_shopper_has_the_default_of_every_pair_feature() -> None:
    columns = columns_of(random_shelf(np.random.default_rng(1), 5))
    shopper = resolve(None, columns)
    nothing = np.zeros(5, np.float32)
    silent = ModelScores(nothing, False, nothing, np.zeros((5, len(spec.I2I_FEATURES)), np.float32))
    matrix = encode(shopper, columns, np.arange(5, dtype=np.int32), silent, NOW_US)
    assert not shopper.is_known
    assert shopper.history_rows.size == shopper.repeat_rows.size == 0
    for feature in spec.PAIR_FEATURES:
        values = matrix[:, spec.MATRIX_COLUMNS.index(feature.name)]
        np.testing.assert_array_equal(values, np.full(5, feature.default, np.float32), err_msg=feature.name)


def a_shopper(**changed: Any) -> tuple[Shopper, ItemColumns]:
    """A shopper of a shop of three items, with some of the stored row replaced."""
    shelf = random_shelf(np.random.default_rng(2), 3)
    row = {feature.name: feature.default for feature in spec.USER_FEATURES} | {"last_event_us": NOW_US} | changed
    columns = columns_of(shelf)
    return resolve(row, columns), columns


def test_ids_that_the_bundle_lacks_leave_together_with_everything_parallel_to_them() -> None:
    shopper, _ = a_shopper(
        history_item_ids=["item-2", "GONE-1", "item-0"],
        history_event_types=[1, 2, 3],
        history_times_us=[10, 20, 30],
        repeat_item_ids=["GONE-1", "item-1", "item-2"],
        repeat_counts=[9.0, 2.0, 1.0],
        repeat_weights=[8.0, 0.5, 0.25],
        repeat_last_us=[70, 80, 90],
        repeat_purchase_us=[70, 0, 85],
        repeat_gap_days=[1.0, 2.0, -1.0],
    )
    assert shopper.history_rows.tolist() == [2, 0]
    assert shopper.history_event_types.tolist() == [1, 3]
    assert shopper.history_times_us.tolist() == [10, 30]
    assert shopper.repeat_rows.tolist() == [1, 2]
    assert shopper.repeat_counts.tolist() == [2.0, 1.0]
    assert shopper.repeat_weights.tolist() == [0.5, 0.25]
    assert shopper.repeat_last_us.tolist() == [80, 90]
    assert shopper.repeat_purchase_us.tolist() == [0, 85]
    assert shopper.repeat_gap_days.tolist() == [2.0, -1.0]


def test_arrays_from_the_store_resolve_as_lists_from_a_table_do() -> None:
    rng = np.random.default_rng(3)
    row, columns = random_row(rng, 3), columns_of(random_shelf(rng, 3))
    types = {feature.name: feature.dtype for feature in spec.USER_FEATURES}
    arrays = {
        name: np.array(value, dtype=types[name][5:-1]) if types[name] in {"list[int64]", "list[float32]"} else value
        for name, value in row.items()
    }
    of_lists, of_arrays = resolve(row, columns), resolve(arrays, columns)
    for name in Shopper.__slots__:
        np.testing.assert_array_equal(getattr(of_arrays, name), getattr(of_lists, name), err_msg=name)


def test_a_history_event_is_as_old_as_the_instant_says_and_never_from_the_future() -> None:
    shopper, _ = a_shopper(
        history_item_ids=["item-0"] * 3,
        history_event_types=[1, 1, 1],
        history_times_us=[NOW_US - 14 * DAY_US, NOW_US, NOW_US + DAY_US],
    )
    ages = history_ages_days(shopper, NOW_US)
    assert ages.dtype == np.float32
    assert ages.tolist() == [14.0, 0.0, 0.0]


def test_a_column_is_asked_for_by_its_features_name() -> None:
    shelf = random_shelf(np.random.default_rng(4), 3)
    columns = columns_of(shelf)
    expected = np.array([values["item_gap_days"] for values in shelf], np.float32)
    np.testing.assert_array_equal(columns.column("item_gap_days"), expected)
    with pytest.raises(KeyError, match="pair_count"):
        columns.column("pair_count")


def test_items_without_a_category_have_no_code() -> None:
    columns = columns_of(random_shelf(np.random.default_rng(5), 1))
    for path, codes in ((["Dairy", "Milk"], (0, 0)), ([], (-1, -1))):
        shelf = random_shelf(np.random.default_rng(5), 1)
        shelf[0]["category"] = path
        columns = columns_of(shelf)
        assert (columns.leaf[0], columns.category[0]) == codes


def test_an_items_ages_go_on_after_its_features_were_taken_and_an_unseen_items_stay_unknown() -> None:
    shelf = random_shelf(np.random.default_rng(6), 2)
    shelf[0] |= {"item_age_days": 30.0, "item_idle_days": 0.0}
    shelf[1] |= {"item_age_days": -1.0, "item_idle_days": -1.0}
    columns = columns_of(shelf)
    rows = np.arange(2, dtype=np.int32)
    scores = random_scores(np.random.default_rng(0), 2)
    matrix = encode(resolve(None, columns), columns, rows, scores, day_us(AS_OF_DAY + 2.25))
    for name, expected in (("item_age_days", [32.25, -1.0]), ("item_idle_days", [2.25, -1.0])):
        assert matrix[:, spec.MATRIX_COLUMNS.index(name)].tolist() == expected
        assert columns.column(name).tolist() == [shelf[0][name], -1.0]


def test_two_tables_in_different_orders_are_refused() -> None:
    catalogue = items(item("OAT-MILK"), item("RYE-BREAD"))
    schema = {"item_id": pl.String()} | {feature.name: polars_type(feature.dtype) for feature in spec.ITEM_FEATURES}
    features = pl.DataFrame([{"item_id": "RYE-BREAD"}, {"item_id": "OAT-MILK"}], schema)
    with pytest.raises(ValueError, match="same item ids in the same order"):
        item_columns(catalogue, features, day(AS_OF_DAY))
    assert catalogue.schema == ITEMS


def test_the_golden_matrix_has_not_moved() -> None:
    """Whoever changes a number here changes what every trained ranker sees."""
    golden = json.loads(GOLDEN.read_text())
    columns = columns_of(golden["items"], golden["as_of_day"])
    rows, said = np.array(golden["rows"], np.int32), golden["scores"]
    interest, history = np.array(said["interest"], np.float32), np.array(said["history"], np.float32)
    scores = ModelScores(interest, False, history, np.array(said["item_to_item"], np.float32))
    for name, row in golden["shoppers"].items():
        matrix = encode(resolve(row, columns), columns, rows, scores, day_us(golden["now_day"]))
        for position, line in enumerate(golden["matrices"][name]):
            found = dict(zip(spec.MATRIX_COLUMNS, matrix[position].tolist(), strict=True))
            assert found == pytest.approx(line, rel=1e-6, abs=1e-6), f"{name}, item row {rows[position]}"
