"""The parts of the page, each from figures to words."""

from collections.abc import Sequence
from typing import Any, Literal

import polars as pl

from loadtest.comparison import Ratio
from loadtest.figures import ALL, DEFERRED, FAILED, OK, QUANTILES, RANKED, WAITED_MS, shop_calls, window_end
from loadtest.findings import Finding, said
from loadtest.levels import Levels
from loadtest.plots import Line, Window, chart
from loadtest.recording import Mark, RunFacts
from loadtest.series import degraded_over_time, series_of, width_of

NOTHING = "\N{EN DASH}"
_RESULTS = {"failed": "Failed", "passed": "Kept", "told": "Told, not judged"}
_COLUMNS = {"p50": "p50_ms", "p99": "p99_ms", "p99.9": "p999_ms"}
_KINDS: tuple[tuple[Any, Any], ...] = (("bad", "-"), ("ours", "-"), ("ink", "--"), ("best", ":"), ("best", "-"))


def findings_part(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """A table per result."""
    return [
        {"name": name, "key": result, "findings": [_finding(one) for one in findings if one.result == result]}
        for result, name in _RESULTS.items()
        if any(one.result == result for one in findings)
    ]


def _finding(one: Finding) -> dict[str, str]:
    bound = "" if one.bound is None else f"{'≥' if one.check == 'throughput' else '≤'} {said(one.bound, one.unit)}"
    within = f"{said(one.interval[0], one.unit)} to {said(one.interval[1], one.unit)}" if one.interval else ""
    return {
        "check": one.check,
        "method": one.method,
        "figure": one.figure,
        "value": said(one.value, one.unit) if one.value is not None else NOTHING,
        "within": within,
        "bound": bound,
        "note": one.note,
    }


def methods_part(figures: pl.DataFrame) -> list[dict[str, Any]]:
    """A row per method: counts, and quantiles above those of the accepted run."""
    rows = figures.filter(stage="").to_dicts()
    return [
        {
            "name": row["method"],
            "whole": row["method"] == ALL,
            "calls": f"{row['calls']:,}",
            "errors": f"{row['errors']:,}",
            "deferred": f"{row['deferred']:,}",
            "degraded": said(row["degraded"] / row["ranked"], "share") if row["ranked"] else NOTHING,
            "quantiles": [_beside(row, column) for column in _COLUMNS.values()],
        }
        for row in rows
    ]


def _beside(row: dict[str, Any], column: str) -> dict[str, str]:
    now, then = row[column], row[f"accepted_{column}"]
    return {"now": NOTHING if now is None else said(now, "ms"), "then": "" if then is None else said(then, "ms")}


def stages_part(figures: pl.DataFrame, ratios: Sequence[Ratio]) -> list[dict[str, Any]]:
    """A table per method: its stages, what took longest first."""
    known = {(one.method, one.stage): one for one in ratios if one.quantile == "p50"}
    found = []
    for (method,), rows in figures.filter(pl.col("stage") != "").group_by("method", maintain_order=True):
        stages = [
            {
                "name": row["stage"],
                "calls": f"{row['calls']:,}",
                "quantiles": [_beside(row, column) for column in list(_COLUMNS.values())[:2]],
                "ratio": _ratio(known.get((str(method), row["stage"]))),
            }
            for row in rows.sort("p50_ms", descending=True).to_dicts()
        ]
        found.append({"method": method, "stages": stages})
    return found


def _ratio(one: Ratio | None) -> str:
    return f"{one.ratio:.2f} ({one.interval[0]:.2f} to {one.interval[1]:.2f})" if one else NOTHING


def marks_part(calls: pl.DataFrame, marks: Sequence[Mark], levels: Levels) -> list[dict[str, str]]:
    """A row per fault: when, what it did to calls that were due while it lasted, how long the deployment recovered."""
    return [_mark(calls, mark, levels) for mark in marks]


def _mark(calls: pl.DataFrame, mark: Mark, levels: Levels) -> dict[str, str]:
    during = shop_calls(calls).filter(pl.col("due_s").is_between(mark.at_s, window_end(mark, levels.recovery_s)))
    ranked = during.filter(RANKED)
    poorer = ranked.filter(pl.col("degradations").list.len() > 0).height
    kinds = sorted(set(ranked["degradations"].list.explode(empty_as_null=True).drop_nulls().to_list()))
    answered = during.filter(OK).select(
        *[WAITED_MS.quantile(QUANTILES[name], "equiprobable").alias(name) for name in ("p50", "p99")]
    )
    return {
        "what": mark.what,
        "at": f"{mark.at_s:.1f} s",
        "until": f"{mark.until_s:.1f} s",
        "recovered": "not known" if mark.recovered_s is None else f"{mark.recovered_s:.1f} s",
        "calls": f"{during.height:,}",
        "failed": f"{during.filter(FAILED).height:,}",
        "deferred": f"{during.filter(DEFERRED).height:,}",
        "degraded": f"{poorer:,} of {ranked.height:,}",
        "kinds": ", ".join(kinds),
        **{name: said(answered[name][0], "ms") for name in ("p50", "p99")},
    }


def charts_of(
    calls: pl.DataFrame, facts: RunFacts, marks: Sequence[Mark], figures: pl.DataFrame
) -> list[dict[str, str]]:
    """Rate, waiting time, errors and degraded replies over time."""
    width = width_of(calls)
    rows, windows = series_of(calls, width), _windows(facts, marks)
    seconds = rows["second"].to_list()

    def line(column: str, colour: Any, style: Any = "-") -> Line:
        return Line(list(zip(seconds, rows[column].to_list(), strict=True)), colour, style)

    each = "second" if width == 1 else f"{width} seconds"
    waiting = {"p50": line("p50_ms", "ours"), "p99": line("p99_ms", "ink")} | _accepted_lines(figures, seconds)
    kinds = degraded_over_time(calls, width)
    shares = {
        kind: Line([(second, 100 * share) for second, share in points], *_KINDS[place % len(_KINDS)])
        for place, (kind, points) in enumerate(kinds.items())
    }
    rate = {"due": line("due", "best"), "answered": line("answered", "ours")}
    failed = {"failed calls": line("errors", "bad"), "deferred calls": line("deferred", "ours")}
    few = "with few calls p99 is the slowest of them. Dashed: the accepted run"
    drawn = [
        ("Rate", "calls a second", rate, f"Calls that fell due and calls that were answered, each {each}."),
        ("Waiting time", "ms", waiting, f"From when a call was due, of those of each {each}; {few}."),
        (
            "Errors",
            f"each {each}",
            failed,
            f"Failed calls, and those whose events were sent again, by the {each} they were due in.",
        ),
        ("Degraded replies", "% of replies", shares, "Share of the ranked replies that name each degradation."),
    ]
    return [
        {"title": title, "text": text, "svg": chart(lines, windows, title, text, unit=unit, logarithmic=unit == "ms")}
        for title, unit, lines, text in drawn
        if any(value is not None for line in lines.values() for _, value in line.points)
    ]


def _accepted_lines(figures: pl.DataFrame, seconds: Sequence[float]) -> dict[str, Line]:
    """The accepted run's quantiles of all calls, level."""
    row = figures.row(0, named=True)
    ends = [seconds[0], seconds[-1]] if seconds else []
    levels: dict[str, tuple[float | None, Literal["ours", "ink"]]] = {
        "p50, accepted run": (row["accepted_p50_ms"], "ours"),
        "p99, accepted run": (row["accepted_p99_ms"], "ink"),
    }
    return {
        name: Line([(second, ms) for second in ends], colour, "--")
        for name, (ms, colour) in levels.items()
        if ms is not None
    }


def _windows(facts: RunFacts, marks: Sequence[Mark]) -> list[Window]:
    found = [Window(mark.at_s, mark.until_s, mark.until_s + (mark.recovered_s or 0.0), mark.what) for mark in marks]
    warm = facts.warm_up_seconds
    return [Window(0.0, 0.0, warm, "warm-up"), *found] if warm else found
