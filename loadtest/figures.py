"""What CALLS amount to: counts, shares and quantiles per method and stage, and how they went over time. Pure.

Choices:
- Waiting time is done - due, of the calls that were answered; those that failed are counted as failed, and those whose
  events are sent again as deferred.
- A quantile is a call that was made: the least one that at least such a share of calls does not exceed.
- An rpc with several methods (`Recommend/HOME`, `Recommend/CART`) is told as a whole too, under its own name.
- `outside` is beside the reply's stages: what a caller waited beyond the service's `total`.
- Probes of freshness are no calls of a shop and stand in none of these figures.
"""

from collections.abc import Sequence
from typing import Final

import polars as pl

from loadtest import recording
from loadtest.levels import Quantile
from loadtest.recording import FRESHNESS, Mark

QUANTILES: Final[dict[Quantile, float]] = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
ALL = "all calls"
TOTAL, OUTSIDE = "total", "outside"
OK = pl.col("code") == recording.OK
DEFERRED = pl.col("code") == recording.DEFERRED
FAILED = ~(OK | DEFERRED)
RANKED = OK & pl.col("bundle").is_not_null()
"""A reply that can be degraded."""
WAITED_MS = (pl.col("done_s") - pl.col("due_s")) * 1e3

FIGURES = pl.Schema(
    {
        "method": pl.String(),
        "stage": pl.String(),
        "calls": pl.Int64(),
        "errors": pl.Int64(),
        "deferred": pl.Int64(),
        "ranked": pl.Int64(),
        "degraded": pl.Int64(),
        "p50_ms": pl.Float64(),
        "p99_ms": pl.Float64(),
        "p999_ms": pl.Float64(),
    }
)
"""A row per method, and per stage of its replies; stage is empty for the call as a whole, whose quantiles are null
where none was answered. calls of a stage: replies that went through it."""


def shop_calls(calls: pl.DataFrame) -> pl.DataFrame:
    """Without probes of freshness."""
    return calls.filter(pl.col("method") != FRESHNESS)


def probes(calls: pl.DataFrame) -> pl.DataFrame:
    """Probes of freshness alone."""
    return calls.filter(pl.col("method") == FRESHNESS)


def steady(calls: pl.DataFrame, marks: Sequence[Mark], recovery_s: float) -> pl.DataFrame:
    """Calls that were due neither during a fault nor while the deployment recovered from it.

    Args:
        calls: CALLS.
        marks: the faults.
        recovery_s: how long it recovers where that is not known.
    """
    for mark in marks:
        ends = window_end(mark, recovery_s)
        calls = calls.filter((pl.col("done_s") < mark.at_s) | (pl.col("due_s") > ends))
    return calls


def window_end(mark: Mark, recovery_s: float) -> float:
    """Seconds since the run began at which a fault counts as over."""
    return mark.until_s + (recovery_s if mark.recovered_s is None else mark.recovered_s)


def grouped(calls: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Calls of each method, and of each rpc that has several; by name."""
    methods = calls["method"].unique().sort().to_list()
    found = {method: calls.filter(pl.col("method") == method) for method in methods}
    rpcs = [method.partition("/")[0] for method in methods]
    for rpc in sorted({rpc for rpc in rpcs if rpcs.count(rpc) > 1}):
        found[rpc] = calls.filter(pl.col("method").str.split("/").list.first() == rpc)
    return dict(sorted(found.items()))


def stage_times(calls: pl.DataFrame) -> pl.DataFrame:
    """A row per answered call and stage: `call`, `due_s`, `stage`, `ms`; `outside` where the reply told its total."""
    answered = calls.filter(OK).with_row_index("call")
    told = answered.select("call", "due_s", waited=WAITED_MS, told="stages").explode("told", empty_as_null=False)
    times = told.unnest("told").drop_nulls("stage")
    rest = times.filter(pl.col("stage") == TOTAL).with_columns(
        stage=pl.lit(OUTSIDE), ms=pl.max_horizontal(pl.col("waited") - pl.col("ms"), 0.0)
    )
    return pl.concat([times, rest]).select("call", "due_s", "stage", "ms").sort("call", "stage")


def figures_of(calls: pl.DataFrame) -> pl.DataFrame:
    """FIGURES of CALLS; the first row is of all calls."""
    shop = shop_calls(calls)
    rows = []
    for method, those in {ALL: shop, **grouped(shop)}.items():
        counts = those.select(
            method=pl.lit(method),
            stage=pl.lit(""),
            calls=pl.len().cast(pl.Int64),
            errors=FAILED.sum().cast(pl.Int64),
            deferred=DEFERRED.sum().cast(pl.Int64),
            ranked=RANKED.sum().cast(pl.Int64),
            degraded=(RANKED & (pl.col("degradations").list.len() > 0)).sum().cast(pl.Int64),
        )
        rows.append(counts.with_columns(**_one_row(those.filter(OK).select(**_quantiles(WAITED_MS)))))
        if method != ALL:
            rows.append(_stage_figures(method, those))
    return pl.concat(rows).select(FIGURES.names())


def bundles_of(calls: pl.DataFrame) -> list[str]:
    """Versions that replies named, in the order of their first reply."""
    named: list[str] = calls["bundle"].drop_nulls().unique(maintain_order=True).to_list()
    return named


def _stage_figures(method: str, calls: pl.DataFrame) -> pl.DataFrame:
    times = stage_times(calls).group_by("stage").agg(calls=pl.len().cast(pl.Int64), **_quantiles(pl.col("ms")))
    nothing = pl.lit(0, pl.Int64)
    return (
        times.sort("stage")
        .with_columns(method=pl.lit(method), errors=nothing, deferred=nothing, ranked=nothing, degraded=nothing)
        .select(FIGURES.names())
    )


def _quantiles(values: pl.Expr) -> dict[str, pl.Expr]:
    names = {"p50": "p50_ms", "p99": "p99_ms", "p99.9": "p999_ms"}
    return {names[name]: values.quantile(share, "equiprobable") for name, share in QUANTILES.items()}


def _one_row(frame: pl.DataFrame) -> dict[str, pl.Expr]:
    return {name: pl.lit(value, pl.Float64) for name, value in frame.row(0, named=True).items()}
