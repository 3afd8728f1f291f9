"""How long replies stayed the poorer for what was done to a deployment: pure, from the calls and the marks."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from loadtest.recording import FRESHNESS, Mark

NAMED = {
    "triton": ("INTEREST_FALLBACK",),
    "valkey": ("USER_FEATURES_FALLBACK", "POPULARITY_ONLY"),
    "retrieval": ("RETRIEVAL_FALLBACK",),
    "updater": ("STALE_FEATURES",),
    "ingest": ("STALE_FEATURES",),
    "bundle": ("INTEREST_FALLBACK", "RETRIEVAL_FALLBACK"),
}
"""Part → what replies say they did without while it is away; of the others' absence only failures tell."""
QUIET_SECONDS = 5.0
"""A poor reply that comes so much later than the one before it has another cause."""


def with_recovery(marks: Sequence[Mark], calls: pl.DataFrame) -> list[Mark]:
    """The marks by time, each with the seconds from its end until the last reply that was the poorer for it.

    Poorer is a call that failed or whose events had to be sent again, one whose reply names what the part's absence
    costs, and after a swap one that the former bundle answered. None where replies were still poor when the next thing
    was done or the run ended, or where nobody asked.
    """
    ordered = sorted(marks, key=lambda mark: mark.at_s)
    asked = calls.filter(pl.col("method") != FRESHNESS).sort("done_s")
    ends = [*(mark.at_s for mark in ordered), float("inf")][1:]
    return [
        replace(mark, recovered_s=_recovered(mark, asked.filter(pl.col("done_s") < max(end, mark.until_s)), asked))
        for mark, end in zip(ordered, ends, strict=True)
    ]


def _recovered(mark: Mark, until_next: pl.DataFrame, calls: pl.DataFrame) -> float | None:
    after = until_next.filter(pl.col("done_s") > mark.until_s)
    if after.is_empty():
        return None
    poor = after.select(pl.col("done_s"), _is_poor(mark, calls).alias("poor"))
    last = mark.until_s
    for at in poor.filter("poor")["done_s"]:
        if at - last > QUIET_SECONDS:
            break
        last = at
    return None if last == poor["done_s"][-1] else last - mark.until_s


def _is_poor(mark: Mark, calls: pl.DataFrame) -> pl.Expr:
    kind, _, part = mark.what.partition(" ")
    named = pl.col("degradations").list.set_intersection(list(NAMED.get(part, ()))).list.len() > 0
    poor = (pl.col("code") != "OK") | named.fill_null(value=False)
    if kind != "swap":
        return poor
    before = calls.filter((pl.col("done_s") <= mark.at_s) & pl.col("bundle").is_not_null())["bundle"]
    return poor | (pl.col("bundle") == before[-1]).fill_null(value=False) if before.len() else poor
