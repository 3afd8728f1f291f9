"""The gate on made runs: the good build passes whatever the machine does, each planted fault fails with its cause."""

from collections.abc import Iterator
from dataclasses import replace

import polars as pl
import pytest

from loadtest import resampling
from loadtest.gate import Run, judge
from loadtest.levels import levels_file, read_levels
from loadtest.recording import FRESHNESS, Mark
from loadtest.verdict import Verdict
from tests.unit.load_calls import FACTS, Shop, call, frame

LEVELS = read_levels(levels_file("local"))
SHOP = Shop()


@pytest.fixture(scope="module", autouse=True)
def few_resamples() -> Iterator[None]:
    """A quarter of them: what is planted lies far beyond what they make the intervals wander."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resampling, "RESAMPLES", 250)
        yield


@pytest.fixture(scope="module")
def accepted() -> Run:
    return Run(SHOP.calls(1_000), FACTS, [])


@pytest.fixture(scope="module")
def good() -> pl.DataFrame:
    return SHOP.calls(0)


def verdict_on(calls: pl.DataFrame, accepted: Run | None = None, marks: tuple[Mark, ...] = ()) -> Verdict:
    return judge(calls, FACTS, marks, LEVELS, accepted)


def failed(verdict: Verdict) -> set[str]:
    """Checks that failed."""
    return {finding.check for finding in verdict.failures}


@pytest.mark.parametrize("seed", range(10))
def test_an_unchanged_build_passes_ten_times_of_ten(accepted: Run, seed: int) -> None:
    verdict = verdict_on(Shop(busy_seconds=seed).calls(seed), accepted)
    assert (verdict.outcome, verdict.exit_code, verdict.causes) == ("pass", 0, [])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("compared", [True, False])
def test_twenty_milliseconds_in_the_ranker_fail_and_name_it(accepted: Run, seed: int, compared: bool) -> None:
    calls = Shop(slower_ms={"ranking": 20}).calls(seed)
    verdict = verdict_on(calls, accepted if compared else None)
    assert (verdict.outcome, verdict.exit_code) == ("fail", 1)
    assert failed(verdict) == ({"latency", "regression"} if compared else {"latency"})
    assert {(cause.method, cause.stage) for cause in verdict.causes} == {
        ("Recommend", "ranking"),
        ("Rank/SEARCH", "ranking"),
    }
    assert all("stage ranking" in cause.text for cause in verdict.causes)


@pytest.mark.parametrize("seed", range(3))
def test_a_hundredth_of_the_calls_failing_fails_and_names_code_and_methods(accepted: Run, seed: int) -> None:
    verdict = verdict_on(Shop(error_share=0.01).calls(seed), accepted)
    assert verdict.outcome == "fail"
    assert failed(verdict) == {"errors"}
    assert verdict.reason.startswith("Of all calls ")
    (cause,) = verdict.causes
    assert "with INTERNAL " in cause.text
    assert cause.method.startswith("Recommend/")


@pytest.mark.parametrize("seed", range(3))
def test_features_that_stand_still_fail_by_what_replies_say_and_by_events_that_never_show(
    accepted: Run, seed: int
) -> None:
    verdict = verdict_on(Shop(stale_from_s=0).calls(seed), accepted)
    assert verdict.outcome == "fail"
    assert failed(verdict) == {"freshness", "degraded"}
    assert [(cause.check, cause.method, cause.stage) for cause in verdict.causes] == [
        ("freshness", "WriteEvents", "features"),
        ("degraded", "Recommend", "features"),
    ]


def test_one_failed_call_of_a_run_refuses_nothing_and_each_method_says_how_many_would(good: pl.DataFrame) -> None:
    verdict = verdict_on(pl.concat([good, frame([call(30, code="INTERNAL")])]))
    assert verdict.outcome == "pass"
    notes = [finding.note for finding in verdict.findings if finding.check == "errors"]
    assert any(note.startswith("1 of ") for note in notes)
    assert all(note.endswith("or more refuse") for note in notes)


def test_a_method_that_always_fails_is_seen_though_it_is_seldom_called(good: pl.DataFrame) -> None:
    verdict = verdict_on(pl.concat([good, frame([call(30 + n, method="Batch", code="INTERNAL") for n in range(2)])]))
    assert [finding.method for finding in verdict.failures] == ["Batch"]
    assert verdict.causes[0].method == "Batch"


def test_calls_of_the_warm_up_are_not_judged(good: pl.DataFrame) -> None:
    early = frame([call(place / 100, 900, code="INTERNAL") for place in range(900)])
    assert verdict_on(pl.concat([early, good])).outcome == "pass"


def test_a_slow_stage_is_told_from_the_calls_that_wait_behind_it(accepted: Run) -> None:
    waits = [
        call(10 + place / 40, 300, stages={"total": 299, "queue": 270, "ranking": 25, "interest": 4})
        for place in range(2_000)
    ]
    verdict = verdict_on(frame(waits), accepted)
    (cause,) = verdict.causes
    assert cause.stage == "ranking"
    assert "calls wait for it in queue" in cause.text


def test_time_beyond_the_service_is_not_blamed_on_a_stage(accepted: Run) -> None:
    far = [call(10 + place / 40, 80, stages={"total": 5, "ranking": 3, "interest": 1}) for place in range(2_000)]
    (cause,) = verdict_on(frame(far), accepted).causes
    assert cause.stage == "outside"
    assert "no stage of work took longer" in cause.text


def test_a_tail_is_blamed_on_what_its_calls_spent_their_time_on() -> None:
    rows = [
        call(10 + place / 40, 500 if place % 25 == 0 else 6, stages={"total": 5, "interest": 490.0 * (place % 25 == 0)})
        for place in range(2_000)
    ]
    verdict = verdict_on(frame(rows))
    assert [(finding.method, finding.figure) for finding in verdict.failures] == [("Recommend/HOME", "p99")]
    assert verdict.causes[0].stage == "interest"


def test_a_tail_that_few_calls_tell_of_is_told_with_the_count_it_takes(good: pl.DataFrame) -> None:
    told = {finding.figure: finding for finding in verdict_on(good).findings if finding.method == "Recommend/CART"}
    assert (told["p99"].result, told["p99.9"].result, told["p50"].result) == ("told", "told", "passed")
    assert "it takes 1,000 answered calls" in told["p99"].note
    assert "it takes 10,000 answered calls" in told["p99.9"].note


def test_a_regression_is_refused_within_the_levels_too(accepted: Run) -> None:
    verdict = verdict_on(Shop(scale=2.2).calls(3), accepted)
    assert failed(verdict) == {"regression"}
    assert "accepted run" in verdict.reason
    assert {cause.stage for cause in verdict.causes} == {"ranking"}


def test_a_small_rise_is_none_however_many_times_it_is(accepted: Run) -> None:
    quick = {"WriteEvents": 1.0}
    then = Run(Shop(methods=quick, scale=0.3).calls(1), FACTS, [])
    verdict = verdict_on(Shop(methods=quick).calls(2), then)
    (p50,) = [finding for finding in verdict.findings if finding.figure.startswith("p50 over")]
    assert p50.interval is not None
    assert p50.interval[0] > LEVELS.regression["p50"].ratio
    assert verdict.outcome == "pass"


def test_runs_of_other_rates_or_profiles_are_not_compared(accepted: Run, good: pl.DataFrame) -> None:
    faster = accepted._replace(facts=replace(FACTS, visits_per_second=30.0))
    other = accepted._replace(facts=replace(FACTS, profile="soak"))
    for run in (faster, other):
        verdict = verdict_on(good, run)
        assert not verdict.ratios
        assert verdict.warnings[0].startswith("Not compared: the accepted run ")
        assert verdict.outcome == "pass"


@pytest.mark.parametrize("change", [{"generator_cpu_share": 0.97}, {"late_p99_ms": 250.0}])
def test_a_generator_that_was_the_bottleneck_makes_the_run_invalid(
    accepted: Run, good: pl.DataFrame, change: dict[str, float]
) -> None:
    verdict = judge(good, replace(FACTS, **change), [], LEVELS, accepted)  # type: ignore[arg-type]
    assert (verdict.outcome, verdict.exit_code) == ("invalid", 3)
    assert verdict.warnings[0].startswith("The generator is what was measured: ")


def test_calls_that_wait_within_the_generator_make_the_run_invalid() -> None:
    late = frame([call(10 + place / 40, 10, late_ms=8) for place in range(2_000)])
    assert verdict_on(late).outcome == "invalid"


def test_an_invalid_run_is_invalid_whatever_else_it_shows() -> None:
    busy = replace(FACTS, generator_cpu_share=1.0)
    verdict = judge(Shop(error_share=0.1).calls(0), busy, [], LEVELS)
    assert verdict.outcome == "invalid"
    assert "errors" in failed(verdict)


def test_a_run_without_calls_is_invalid() -> None:
    for calls in (frame([]), frame([call(1.0)])):
        verdict = verdict_on(calls)
        assert verdict.outcome == "invalid"
        assert "no call fell due" in verdict.reason


def test_events_without_a_probe_are_not_taken_for_fresh(good: pl.DataFrame) -> None:
    unprobed = good.filter(pl.col("method") != FRESHNESS)
    assert verdict_on(unprobed).outcome == "invalid"
    reading = unprobed.filter(pl.col("method") != "WriteEvents")
    assert verdict_on(reading).outcome == "pass"


def test_late_events_are_counted(good: pl.DataFrame) -> None:
    slow = frame([call(20 + place, 5_000, method=FRESHNESS, bundle=None) for place in range(3)])
    assert verdict_on(pl.concat([good, slow[:2]])).outcome == "pass"
    assert failed(verdict_on(pl.concat([good, slow]))) == {"freshness"}


def test_what_piles_up_until_the_end_is_refused_and_what_failed_in_time_is_not_counted_twice(
    good: pl.DataFrame,
) -> None:
    piled = [call(50 + place / 20, 15_000) for place in range(200)]
    assert "throughput" in failed(verdict_on(pl.concat([good, frame(piled)])))
    lost = [call(50 + place / 20, code="INTERNAL") for place in range(200)]
    assert failed(verdict_on(pl.concat([good, frame(lost)]))) == {"errors"}


def test_one_failed_call_of_a_very_short_run_refuses_nothing() -> None:
    rows = [call(10 + place, 5, code="INTERNAL" if place == 7 else "OK") for place in range(29)]
    assert verdict_on(frame(rows)).outcome == "pass"


KILL = Mark(at_s=20, until_s=28, what="kill triton", recovered_s=2.0)


def in_fault(good: pl.DataFrame, begins: float, ends: float) -> pl.DataFrame:
    """Replies without Triton, and slow ones, for a while."""
    within = (pl.col("due_s") >= begins) & (pl.col("due_s") < ends) & pl.col("bundle").is_not_null()
    return good.with_columns(
        degradations=pl.when(within).then(pl.lit(["INTEREST_FALLBACK"])).otherwise("degradations"),
        done_s=pl.when(within).then(pl.col("done_s") + 0.4).otherwise("done_s"),
    )


def test_what_a_fault_does_is_told_while_it_lasts_and_judged_beyond(good: pl.DataFrame) -> None:
    assert verdict_on(in_fault(good, 20, 29.9), marks=(KILL,)).outcome == "pass"
    assert failed(verdict_on(in_fault(good, 20, 29.9))) >= {"degraded"}
    assert failed(verdict_on(in_fault(good, 20, 50), marks=(KILL,))) >= {"degraded"}


def test_failed_calls_are_judged_within_a_fault_too(good: pl.DataFrame) -> None:
    lost = frame([call(20 + place / 10, code="UNAVAILABLE") for place in range(30)])
    verdict = verdict_on(pl.concat([good, lost]), marks=(KILL,))
    assert failed(verdict) == {"errors"}
    assert "with UNAVAILABLE 30" in verdict.causes[0].text


def written(good: pl.DataFrame, begins: float, ends: float, code: str) -> pl.DataFrame:
    """Events written for a while with a code."""
    within = pl.col("due_s").is_between(begins, ends) & (pl.col("method") == "WriteEvents")
    return good.with_columns(code=pl.when(within).then(pl.lit(code)).otherwise("code"))


def test_events_that_are_sent_again_are_no_failures_while_a_fault_lasts(good: pl.DataFrame) -> None:
    away = written(good, 20, 28, "DEFERRED")
    assert away.filter(code="DEFERRED").height > 50
    verdict = verdict_on(away, marks=(KILL,))
    assert verdict.outcome == "pass"
    assert [one.value for one in verdict.findings if one.check == "errors" and one.method == "WriteEvents"] == [0.0]


def test_events_that_are_sent_again_for_long_without_a_fault_are_judged_as_degraded_replies_are(
    good: pl.DataFrame,
) -> None:
    verdict = verdict_on(written(good, 20, 50, "DEFERRED"))
    assert [(one.check, one.method, one.figure) for one in verdict.failures] == [
        ("degraded", "WriteEvents", "DEFERRED")
    ]
    (cause,) = verdict.causes
    assert (cause.method, cause.stage) == ("WriteEvents", "ingest")
    assert "Valkey" in cause.where


def test_events_that_are_lost_are_failed_calls_that_say_so(good: pl.DataFrame) -> None:
    lost = frame([call(65, 0, method="WriteEvents", code="LOST") for _ in range(30)])
    verdict = verdict_on(pl.concat([good, lost]), marks=(KILL,))
    assert failed(verdict) == {"errors"}
    assert "with LOST 30: of WriteEvents 30" in verdict.causes[0].text


def test_a_single_lost_event_is_refused_where_a_failed_call_is_not(good: pl.DataFrame) -> None:
    one = {code: frame([call(65, 0, method="WriteEvents", code=code)]) for code in ("LOST", "UNAVAILABLE")}
    assert verdict_on(pl.concat([good, one["UNAVAILABLE"]])).outcome == "pass"
    verdict = verdict_on(pl.concat([good, one["LOST"]]), marks=(KILL,))
    assert [(finding.method, finding.figure) for finding in verdict.failures] == [
        ("WriteEvents", "share of lost events")
    ]
    assert "with LOST 1: of WriteEvents 1" in verdict.causes[0].text


def test_a_recovery_that_takes_too_long_is_refused_and_one_that_is_not_known_told(good: pl.DataFrame) -> None:
    slow = verdict_on(good, marks=(replace(KILL, recovered_s=14.0),))
    assert failed(slow) == {"recovery"}
    assert slow.reason.startswith("After kill triton the recovery took 14 s")
    unknown = verdict_on(good, marks=(replace(KILL, recovered_s=None),))
    assert [finding.result for finding in unknown.findings if finding.check == "recovery"] == ["told"]


def test_a_degradation_that_no_level_knows_has_the_default(good: pl.DataFrame) -> None:
    odd = good.with_columns(degradations=pl.when(pl.col("bundle").is_not_null()).then(pl.lit(["NEW_KIND"])))
    verdict = verdict_on(odd.with_columns(pl.col("degradations").fill_null([])))
    assert failed(verdict) == {"degraded"}
    assert "NEW_KIND" in verdict.causes[0].text


def test_bundles_of_a_run_are_told_and_may_be_several(accepted: Run, good: pl.DataFrame) -> None:
    swapped = good.with_columns(bundle=pl.when(pl.col("due_s") > 30).then(pl.lit("shop-w50")).otherwise("bundle"))
    verdict = verdict_on(swapped, accepted, (Mark(at_s=30, until_s=30, what="swap bundle", recovered_s=0.0),))
    assert (verdict.outcome, verdict.bundles) == ("pass", ["shop-w49", "shop-w50"])
    assert verdict.accepted_bundles == ["shop-w49"]


def test_the_same_run_is_judged_the_same(accepted: Run, good: pl.DataFrame) -> None:
    assert verdict_on(good, accepted).as_json() == verdict_on(good, accepted).as_json()
