"""What failures come from, in a sentence that names method and stage, and where to look next. Pure."""

from collections.abc import Sequence

import polars as pl

from loadtest.blame import blame
from loadtest.figures import FAILED, OK, OUTSIDE, QUANTILES, WAITED_MS, grouped, shop_calls
from loadtest.findings import Finding, said
from loadtest.levels import Quantile
from loadtest.recording import DEFERRED
from loadtest.verdict import Cause

_LOGS = "The log of the service that answers it (build/stack.json names the file), and its spans."
_UPDATER = "The updater: whether it runs, its log, the length of the streams; and how old the bundle is."
WHERE = {
    "features": "The online store: Valkey, and what the ranking process reads of it (features/store).",
    "interest": "Triton: its log, and its queue and compute times on /metrics.",
    "candidates": "services/ranking/ordering/candidates.py, which runs in the ranking process.",
    "retrieval": "The index: services/retrieval, or the ranking process that holds it.",
    "ranking": "The ranker: services/ranking/ordering and the trees of the bundle; aisle_stage_seconds{stage=ranking}.",
    "shaping": "services/ranking/shaping.py: diversity, price and promotions.",
    "explanation": "services/ranking/explain.py, and who asks for explanations.",
    "queue": "CPU of the ranking processes: whether they are too few for what is asked.",
    "ingest": "The ingest service: its log, and Valkey, whose answer it waits for before it takes an event in.",
    OUTSIDE: "The network, the connections, or the machine: who else runs there.",
}
"""Stage → where to look."""
_DEGRADED = {
    "INTEREST_FALLBACK": ("interest", "Triton did not answer in time"),
    "USER_FEATURES_FALLBACK": ("features", "the online store did not answer in time"),
    "RETRIEVAL_FALLBACK": ("retrieval", "the index did not answer in time"),
    "POPULARITY_ONLY": ("features", "nothing was known of the shopper in time"),
    DEFERRED: ("ingest", "events could not be written at once and were sent again"),
    "STALE_FEATURES": ("features", "what shoppers did has waited too long to become features"),
}
"""Kind → the stage that it stands in for, and what it means."""


def causes_of(
    failures: Sequence[Finding], calls: pl.DataFrame, calm: pl.DataFrame, accepted: pl.DataFrame | None
) -> list[Cause]:
    """One per kind of failure, for degradations one per kind of those, for waiting times one per rpc.

    Args:
        failures: the gravest first.
        calls: CALLS that were judged.
        calm: those outside faults.
        accepted: those of the accepted run; None without one.
    """
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in failures:
        groups.setdefault(_kind_of(finding), []).append(finding)
    found: list[Cause] = []
    for (check, part), those in groups.items():
        if check == "errors":
            found.append(_of_errors(calls))
        elif check == "degraded":
            found.append(_of_degraded(part, those, calm))
        elif check == "freshness":
            found.append(_of_freshness(those[0]))
        elif check == "latency":
            found.append(_of_latency(part, those, calm, accepted))
    return found


def _kind_of(finding: Finding) -> tuple[str, str]:
    if finding.check in ("latency", "regression"):
        return "latency", finding.method.partition("/")[0]
    return finding.check, finding.figure if finding.check == "degraded" else ""


def _of_errors(calls: pl.DataFrame) -> Cause:
    """Which methods failed, most often failing first, with which codes, and when."""
    failed = shop_calls(calls).filter(FAILED)
    methods, codes = (_tally(failed[column]) for column in ("method", "code"))
    most = failed["method"].mode(maintain_order=True)[0]
    due = failed["due_s"].to_list()
    text = f"{failed.height:,} calls failed between {min(due):.0f} s and {max(due):.0f} s, with {codes}: of {methods}."
    return Cause("errors", most, "", text, _LOGS)


def _tally(values: pl.Series) -> str:
    """`Rank 3, Recommend/HOME 1`, the most frequent first."""
    counted = values.value_counts().sort(["count", values.name], descending=[True, False]).iter_rows()
    return ", ".join(f"{value} {count:,}" for value, count in counted)


def _of_degraded(kind: str, failures: Sequence[Finding], calls: pl.DataFrame) -> Cause:
    """Where a kind is named most."""
    groups = grouped(shop_calls(calls))
    worst = _worst([one for one in failures if one.method in groups] or failures)
    rpc = worst.method.partition("/")[0]
    of_rpc = [one for one in failures if one.method.partition("/")[0] == rpc]
    method = _method_of(rpc, of_rpc, groups)
    told = next(one for one in failures if one.method == method)
    stage, meaning = _DEGRADED.get(kind, ("", "a degradation that this gate does not know"))
    text = f"{method}, stage {stage}: {said(told.value, 'share')} of its replies say {kind}: {meaning}."
    return Cause("degraded", method, stage, text, _UPDATER if kind == "STALE_FEATURES" else WHERE.get(stage, _LOGS))


def _of_freshness(failure: Finding) -> Cause:
    text = f"WriteEvents, stage features: what shoppers do reaches their lists too late; {failure.note}."
    return Cause("freshness", "WriteEvents", "features", text, _UPDATER)


def _of_latency(rpc: str, failures: Sequence[Finding], calls: pl.DataFrame, accepted: pl.DataFrame | None) -> Cause:
    """The stage that made a method slow."""
    groups = grouped(shop_calls(calls))
    method, quantile = _method_of(rpc, failures, groups), _lowest_quantile(failures)
    before = grouped(shop_calls(accepted)).get(method) if accepted is not None else None
    text = f"{method}: {quantile} is {_quantile_ms(groups[method], quantile)}"
    if before is not None:
        text += f", was {_quantile_ms(before, quantile)}"
    blamed = blame(groups[method], before, quantile)
    if blamed is None:
        return Cause("latency", method, "", f"{text}; its replies tell no stages.", _LOGS)
    return Cause("latency", method, blamed.stage, f"{text}: {blamed.text}.", WHERE.get(blamed.stage, _LOGS))


def _method_of(rpc: str, failures: Sequence[Finding], groups: dict[str, pl.DataFrame]) -> str:
    """The rpc as a whole where at least half of its methods fail, else the worst of them."""
    failing = {one.method for one in failures}
    members = {name for name in groups if name.startswith(f"{rpc}/")}
    if rpc in groups and (2 * len(failing & members) >= len(members) or failing == {rpc}):
        return rpc
    return _worst([one for one in failures if one.method != rpc] or failures).method


def _worst(failures: Sequence[Finding]) -> Finding:
    """What exceeds its bound most."""
    return max(failures, key=lambda one: (one.value or 0.0) / (one.bound or 1.0))


def _lowest_quantile(failures: Sequence[Finding]) -> Quantile:
    """What is slow from the median on is not a matter of the tail."""
    failing = {one.figure.partition(" ")[0] for one in failures}
    return next(name for name in QUANTILES if name in failing)


def _quantile_ms(calls: pl.DataFrame, quantile: Quantile) -> str:
    return said(calls.filter(OK).select(WAITED_MS.quantile(QUANTILES[quantile], "equiprobable")).item(), "ms")
