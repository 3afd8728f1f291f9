"""CALLS over time, for the eye: a row per stretch of seconds. Pure."""

from math import ceil

import polars as pl

from loadtest.figures import DEFERRED, FAILED, OK, RANKED, WAITED_MS, shop_calls

_MOST_ROWS = 300

SERIES = pl.Schema(
    {
        "second": pl.Float64(),
        "due": pl.Float64(),
        "answered": pl.Float64(),
        "errors": pl.Int64(),
        "deferred": pl.Int64(),
        "p50_ms": pl.Float64(),
        "p99_ms": pl.Float64(),
    }
)
"""second: where the stretch begins. due, answered: calls a second, by when they were due and when they were answered.
errors, deferred, p50_ms, p99_ms: of the calls that were due then; quantiles are null where none was answered."""


def width_of(calls: pl.DataFrame) -> int:
    """Seconds of a stretch: one, or so many that a long run has 300 of them."""
    last = calls["done_s"].max()
    return max(1, ceil(float(last) / _MOST_ROWS)) if isinstance(last, float) else 1


def series_of(calls: pl.DataFrame, width: int) -> pl.DataFrame:
    """SERIES of CALLS, without gaps from the run's beginning to the last call that was due."""
    shop = shop_calls(calls)
    due = _stretch("due_s", width)
    by_due = shop.group_by(second=due).agg(
        due=pl.len() / width,
        errors=FAILED.sum().cast(pl.Int64),
        deferred=DEFERRED.sum().cast(pl.Int64),
        p50_ms=WAITED_MS.filter(OK).quantile(0.5, "equiprobable"),
        p99_ms=WAITED_MS.filter(OK).quantile(0.99, "equiprobable"),
    )
    by_done = shop.filter(OK).group_by(second=_stretch("done_s", width)).agg(answered=pl.len() / width)
    joined = _clock(shop, width).join(by_due, on="second", how="left").join(by_done, on="second", how="left")
    counts = pl.col("due", "answered", "errors", "deferred").fill_null(0)
    return joined.with_columns(counts).select(pl.col(name).cast(dtype) for name, dtype in SERIES.items())


def degraded_over_time(calls: pl.DataFrame, width: int) -> dict[str, list[tuple[float, float]]]:
    """Kind → (second, share of the ranked replies of calls that were due then); kinds that no reply named are left
    out."""
    ranked = shop_calls(calls).filter(RANKED).with_columns(second=_stretch("due_s", width))
    sizes = ranked.group_by("second").agg(replies=pl.len()).sort("second")
    named = ranked.select("second", kind="degradations").explode("kind", empty_as_null=True).drop_nulls("kind")
    found = {}
    for (kind,), rows in sorted(named.group_by("kind"), key=lambda group: str(group[0][0])):
        counts = rows.group_by("second").agg(hits=pl.len())
        shares = sizes.join(counts, on="second", how="left").select(
            "second", share=pl.col("hits").fill_null(0) / pl.col("replies")
        )
        found[str(kind)] = [(float(second), float(share)) for second, share in shares.iter_rows()]
    return found


def _stretch(column: str, width: int) -> pl.Expr:
    return (pl.col(column) / width).floor() * width


def _clock(calls: pl.DataFrame, width: int) -> pl.DataFrame:
    last = calls["due_s"].max()
    count = int(last // width) + 1 if isinstance(last, float) else 0
    return pl.DataFrame({"second": pl.Series([float(place * width) for place in range(count)], dtype=pl.Float64)})
