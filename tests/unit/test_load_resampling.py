"""How sure a figure is: what resampling blocks of time sees, and what it forgives."""

import numpy as np
import pytest

from loadtest.resampling import BIN, MAX_BLOCKS, MIN_BLOCKS, RESAMPLES, Blocks, Doubles, interval_of


def steady_run(seconds: int = 60, per_second: int = 40, seed: int = 0) -> tuple[Doubles, Doubles]:
    """Times at which calls were due, and what they took, ms."""
    rng = np.random.default_rng(seed)
    due = np.sort(rng.uniform(0, seconds, seconds * per_second))
    return due, rng.lognormal(2, 0.4, due.size)


def lower_end(due: Doubles, ms: Doubles, quantile: float) -> float:
    return interval_of(Blocks.draw(due, 0).quantiles(due, ms, [quantile])[:, 0], 0.95)[0]


def test_resampled_quantiles_are_those_of_the_calls_written_out() -> None:
    due, ms = steady_run()
    blocks = Blocks.draw(due, 0)
    found = blocks.quantiles(due, ms, [0.5, 0.99])
    block = np.searchsorted(blocks.numbers, np.floor(due / blocks.seconds).astype(int))
    for draw in range(0, RESAMPLES, 97):
        written = np.repeat(ms, blocks.drawn[draw, block].astype(int))
        exact = np.quantile(written, [0.5, 0.99], method="inverted_cdf")
        assert found[draw] == pytest.approx(exact, rel=0.51 * BIN)


def test_resampled_shares_are_those_of_the_calls_written_out() -> None:
    due, ms = steady_run()
    blocks, flags = Blocks.draw(due, 0), ms > 10
    block = np.searchsorted(blocks.numbers, np.floor(due / blocks.seconds).astype(int))
    written = [np.repeat(flags, blocks.drawn[draw, block].astype(int)).mean() for draw in range(20)]
    assert blocks.shares(due, flags)[:20] == pytest.approx(written)


def test_one_bad_moment_proves_nothing_about_the_tail_and_a_longer_one_does() -> None:
    due, ms = steady_run()
    calm = lower_end(due, ms, 0.99)
    stalled = np.where((due > 30) & (due < 33), 1_000.0, ms)
    assert np.quantile(stalled, 0.99) > 900
    assert lower_end(due, stalled, 0.99) == pytest.approx(calm, rel=0.2)
    assert lower_end(due, np.where((due > 30) & (due < 40), 1_000.0, ms), 0.99) > 900


def test_what_is_slow_throughout_is_slow_in_every_resample() -> None:
    due, ms = steady_run()
    often = np.where(np.random.default_rng(1).random(due.size) < 0.03, 1_000.0, ms)
    assert lower_end(due, often, 0.99) > 900
    assert lower_end(due, ms + 20, 0.5) > np.median(ms) + 19


def test_intervals_of_independent_calls_hold_the_truth_about_as_often_as_they_say() -> None:
    held = 0
    for seed in range(100):
        due, ms = steady_run(seed=seed)
        low, high = interval_of(Blocks.draw(due, seed).quantiles(due, ms, [0.5])[:, 0], 0.95)
        held += low <= np.exp(2) <= high
    assert 80 <= held <= 100


def test_a_short_run_has_shorter_blocks_a_long_one_longer_and_a_single_moment_one() -> None:
    due, _ = steady_run(seconds=8)
    assert MIN_BLOCKS <= Blocks.draw(due, 0).numbers.size <= MIN_BLOCKS + 1
    assert Blocks.draw(np.arange(0, 7_200, 0.5), 0).numbers.size <= MAX_BLOCKS + 1
    at_once = np.full(5, 3.0)
    assert interval_of(Blocks.draw(at_once, 0).quantiles(at_once, at_once, [0.5])[:, 0], 0.95)[0] == pytest.approx(
        3.0, rel=BIN
    )


def test_a_resample_without_calls_has_no_figure() -> None:
    due, _ = steady_run()
    few = np.array([1.0])
    draws = Blocks.draw(due, 0).quantiles(few, np.array([7.0]), [0.5])[:, 0]
    assert 0.2 < np.isnan(draws).mean() < 0.5
    assert interval_of(draws, 0.95) == pytest.approx((7.0, 7.0), rel=BIN)
    assert np.isnan(interval_of(np.full(3, np.nan), 0.95)).all()


def test_the_same_seed_draws_the_same() -> None:
    due, ms = steady_run()
    assert np.array_equal(Blocks.draw(due, 1).quantiles(due, ms, [0.5]), Blocks.draw(due, 1).quantiles(due, ms, [0.5]))
