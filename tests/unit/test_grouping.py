"""Orders and groups over codes, against NumPy's and Polars' own."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from features.transforms.grouping import largest_first, lengths_of, order_by, starts_of, sums, within

CODES = arrays.arrays(np.int64, st.integers(0, 60), elements=st.integers(0, 5))


@given(CODES, st.sampled_from([1, 2**20, 2**40]))
def test_rows_are_ordered_by_the_first_key_then_the_next_then_their_place(first: np.ndarray, factor: int) -> None:
    """The largest factor makes keys too wide to be packed."""
    second = first[::-1] * factor
    expected = np.array(sorted(range(first.size), key=lambda row: (first[row] * factor, second[row], row)), np.int64)
    np.testing.assert_array_equal(order_by(first * factor, second), expected)


@given(CODES)
def test_groups_begin_where_a_key_changes(codes: np.ndarray) -> None:
    ordered = np.sort(codes)
    starts = np.flatnonzero(starts_of(ordered))
    _, expected = np.unique(ordered, return_counts=True)
    np.testing.assert_array_equal(lengths_of(starts, ordered.size), expected)
    places = [place for count in expected for place in range(count)]
    np.testing.assert_array_equal(within(starts, ordered.size), np.array(places, np.int64))


@given(arrays.arrays(np.float64, st.integers(1, 30), elements=st.sampled_from([0.0, 0.5, 2.0, 3.5])))
def test_larger_values_come_first_and_equal_ones_share_a_code(values: np.ndarray) -> None:
    codes = largest_first(values)
    for code, value in zip(codes, values, strict=True):
        np.testing.assert_array_equal(codes < code, values > value)


@pytest.mark.parametrize("seed", range(5))
def test_sums_are_polars_own_to_the_last_bit(seed: int) -> None:
    """A training row and a live row of one shopper must be equal, whoever else is in the table."""
    rng = np.random.default_rng(seed)
    groups = np.sort(np.unique(rng.integers(0, 40, 500), return_inverse=True)[1])
    values = rng.lognormal(0, 3, groups.size)
    shuffled = rng.permutation(groups.size)
    frame = pl.DataFrame({"group": groups[shuffled], "value": values[shuffled]})
    expected = frame.group_by("group", maintain_order=True).agg(pl.col("value").sum()).sort("group")["value"]
    np.testing.assert_array_equal(sums(groups[shuffled], values[shuffled]), expected.to_numpy())
