"""The rules of the gate: may a candidate replace what serves? Pure; knows no bundle, no data and no clock.

Choices:
- Both systems stand in one judgement, so that every figure is of the same shoppers and every difference is paired.
- Accuracy: worse beyond its interval refuses, however little. Four figures at 2.5 % each: of candidates that are as
  good, up to one in ten is refused, and asking again with more weeks is the remedy.
- Groups: many are looked at, so the tail is divided by their number (Bonferroni): chance refuses one of them for 2.5 %
  of candidates that are as good, and a loss below `group_margin` never does. The price: a group's loss needs more
  shoppers to be seen than the same loss overall.
- Exposure of flagged items and coverage are judged by their value: the interval is told, but "not proven to be
  harmful" is no reason to show more of it.
- What cannot be judged is refused: a gate that lets through what it did not see is none. Where lists led to what
  shoppers did, there is what is free of them and, as a task of its own, what exploration drew (training.propensity);
  then one of both has to be enough.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import polars as pl

from training.judgement import Judgement
from training.metrics import Doubles, Interval, resampled_means
from training.shopper_metrics import ALL, DRAWN, NEW
from training.slices import MIN_SHOPPERS

CANDIDATE, SERVING = "candidate", "serving"
GROUP_PREFIX = "group: "
Check: TypeAlias = Literal["accuracy", "coverage", "exposure", "group"]


@dataclass(frozen=True, kw_only=True, slots=True)
class GateLimits:
    """What a candidate may cost."""

    tasks: tuple[str, ...] = (ALL, NEW)
    accuracy: tuple[str, ...] = ("recall@20", "ndcg@20")
    """Metrics on which it must not be worse beyond the interval."""
    drawn_accuracy: tuple[str, ...] = ("ndcg@20",)
    """The same of what exploration drew for a shopper: mostly below twenty items, of which the order tells."""
    tail: float = 0.025
    """One side of the interval of a difference; divided by the number of groups where groups are judged."""
    coverage_share: float = 0.8
    """Least coverage@20, as a share of the serving one's."""
    flagged_at_most: float = 1.0
    """Largest share of places, 0 to 1, for flagged items, whatever the serving one gives them."""
    flagged_ratio: float = 1.25
    """Largest share of places for flagged items as a multiple of the serving one's, plus `flagged_rise`."""
    flagged_rise: float = 0.002
    """Share of places; what a shop that shows nearly none may show more."""
    group_metric: str = "recall@20"
    group_margin: float = 0.03
    """A group's loss, as a share of the serving value, that is let pass even if it is real."""
    min_shoppers: int = MIN_SHOPPERS
    """Groups of fewer are not judged; a task with fewer is refused."""
    resamples: int = 10_000

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("coverage_share", "flagged_at_most", "group_margin"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be within 0 and 1, got {getattr(self, name)}")
        if not 0 < self.tail < 0.5:
            raise ValueError(f"tail must be within 0 and 0.5, got {self.tail}")
        if self.flagged_ratio < 1 or self.flagged_rise < 0:
            raise ValueError(
                f"flagged_ratio below 1 or flagged_rise below 0: {self.flagged_ratio}, {self.flagged_rise}"
            )


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure of both systems and whether it speaks against the candidate."""

    check: Check
    metric: str
    task: str
    group: str | None
    """`dimension: group`, or None for all shoppers."""
    shoppers: int
    candidate: float
    serving: float
    interval: Interval | None
    """Of the difference candidate - serving; None where a difference has none."""
    bound: str
    """What was asked, in words and figures."""
    refused: bool

    def __str__(self) -> str:
        """The reason as a person reads it."""
        where = f"{self.task} items" + (f", {self.group}" if self.group else "")
        text = f"{self.check}: {self.metric} on {where}: candidate {self.candidate:.4f}, serving {self.serving:.4f}"
        if self.interval is not None:
            text += f", difference within [{self.interval[0]:+.4f}, {self.interval[1]:+.4f}]"
        return f"{text}; must be {self.bound} ({self.shoppers} shoppers)"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Everything that was looked at."""

    findings: list[Finding]

    @property
    def refusals(self) -> list[Finding]:
        """What speaks against the candidate; empty when it passes."""
        return [finding for finding in self.findings if finding.refused]

    @property
    def passed(self) -> bool:
        """Whether the candidate may serve."""
        return not self.refusals

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        findings = [asdict(finding) for finding in self.findings]
        for found in findings:
            found["interval"] = list(found["interval"]) if found["interval"] else None
            found |= {name: None for name in ("candidate", "serving") if np.isnan(found[name])}
        return {"passed": self.passed, "reasons": [str(found) for found in self.refusals], "findings": findings}


def weigh(judgement: Judgement, limits: GateLimits, seed: int) -> Verdict:
    """Judge the candidate.

    Args:
        judgement: With the systems CANDIDATE and SERVING under every task of the limits; flagged items known.
        limits: What it may cost.
        seed: Of the resampling.

    Raises:
        KeyError: if a task or system is missing from the judgement.
    """
    rng = np.random.default_rng(seed)
    findings: list[Finding] = []
    for task in limits.tasks:
        systems = judgement.tasks[task]
        pairs = _paired_table(judgement.shoppers, task)
        findings += [_accuracy(pairs, task, metric, limits, rng) for metric in limits.accuracy]
        findings.append(_coverage(systems[CANDIDATE], systems[SERVING], task, pairs.height, limits))
        findings.append(_exposure(pairs, task, limits, rng))
    tasks = limits.tasks
    if DRAWN in judgement.by_task:
        tasks = (*tasks, DRAWN)
        pairs = _paired_table(judgement.shoppers, DRAWN)
        findings += [_accuracy(pairs, DRAWN, metric, limits, rng) for metric in limits.drawn_accuracy]
        findings = _on_either(findings)
    return Verdict(findings + _groups(judgement.shoppers, tasks, limits, rng))


def _on_either(findings: list[Finding]) -> list[Finding]:
    """What is too little to judge accuracy on refuses only where all of it is."""
    is_measured = any(found.check == "accuracy" and found.interval is not None for found in findings)
    hint = "" if is_measured else "; of what lists led to only what exploration drew can be judged on: explore more"
    return [
        replace(found, refused=not is_measured, bound=found.bound + hint)
        if found.check == "accuracy" and found.interval is None
        else found
        for found in findings
    ]


def _paired_table(shoppers: pl.DataFrame, task: str) -> pl.DataFrame:
    """One row per shopper: the candidate's metrics and groups, the serving one's under `NAME_serving`."""
    ours, theirs = (shoppers.filter(task=task, system=system).drop("task", "system") for system in (CANDIDATE, SERVING))
    return ours.join(theirs, on="user_id", suffix=f"_{SERVING}").sort("user_id")


def _pair(pairs: pl.DataFrame, metric: str) -> Doubles:
    """Float64 [U, 2], shoppers with both values."""
    return pairs.select(metric, f"{metric}_{SERVING}").drop_nulls().to_numpy().astype(np.float64)


def _interval(pair: Doubles, limits: GateLimits, rng: np.random.Generator, tail: float) -> Interval:
    """Of the difference of means, `tail` outside on either side."""
    means = resampled_means(pair, rng, limits.resamples)
    low, high = np.quantile(means[:, 0] - means[:, 1], [tail, 1 - tail])
    return float(low), float(high)


def _accuracy(pairs: pl.DataFrame, task: str, metric: str, limits: GateLimits, rng: np.random.Generator) -> Finding:
    pair = _pair(pairs, metric)
    if len(pair) < limits.min_shoppers:
        nothing = float("nan")
        bound = f"measured on {limits.min_shoppers} shoppers or more"
        return Finding("accuracy", metric, task, None, len(pair), nothing, nothing, None, bound, refused=True)
    candidate, serving = pair.mean(axis=0).tolist()
    interval = _interval(pair, limits, rng, limits.tail)
    bound = "no worse beyond that interval"
    return Finding("accuracy", metric, task, None, len(pair), candidate, serving, interval, bound, interval[1] < 0)


def _coverage(
    candidate: dict[str, Any], serving: dict[str, Any], task: str, shoppers: int, limits: GateLimits
) -> Finding:
    metric = "coverage@20"
    least = limits.coverage_share * serving[metric]
    bound = f"at least {least:.4f}, {limits.coverage_share:.0%} of the serving one"
    ours, theirs = float(candidate[metric]), float(serving[metric])
    return Finding("coverage", metric, task, None, shoppers, ours, theirs, None, bound, ours < least)


def _exposure(pairs: pl.DataFrame, task: str, limits: GateLimits, rng: np.random.Generator) -> Finding:
    metric = "flagged@20"
    pair = _pair(pairs, metric)
    candidate, serving = pair.mean(axis=0).tolist() if len(pair) else (0.0, 0.0)
    most = min(limits.flagged_at_most, limits.flagged_ratio * serving + limits.flagged_rise)
    interval = _interval(pair, limits, rng, limits.tail) if len(pair) else None
    bound = f"at most {most:.4f} of the places"
    return Finding("exposure", metric, task, None, len(pair), candidate, serving, interval, bound, candidate > most)


def _groups(
    shoppers: pl.DataFrame, tasks: Sequence[str], limits: GateLimits, rng: np.random.Generator
) -> list[Finding]:
    """Every group with enough shoppers, under every task."""
    asked: list[tuple[str, str, str, Doubles]] = []
    for task in tasks:
        pairs = _paired_table(shoppers, task)
        metric = limits.drawn_accuracy[0] if task == DRAWN else limits.group_metric
        for column in (name for name in pairs.columns if name.startswith(GROUP_PREFIX) and SERVING not in name):
            for (group,), members in pairs.group_by(column, maintain_order=True):
                pair = _pair(members, metric)
                if len(pair) >= limits.min_shoppers:
                    asked.append((task, metric, f"{column.removeprefix(GROUP_PREFIX)}: {group}", pair))
    return [_group(*one, limits, rng, len(asked)) for one in asked]


def _group(
    task: str, metric: str, group: str, pair: Doubles, limits: GateLimits, rng: np.random.Generator, group_count: int
) -> Finding:
    candidate, serving = pair.mean(axis=0).tolist()
    interval = _interval(pair, limits, rng, limits.tail / group_count)
    lost = candidate - serving < -limits.group_margin * serving
    bound = f"no worse by {limits.group_margin:.0%} and beyond that interval (of {group_count} groups judged together)"
    refused = lost and interval[1] < 0
    return Finding("group", metric, task, group, len(pair), candidate, serving, interval, bound, refused)


def reason_of(verdict: Verdict, override: str | None) -> str:
    """Why a promotion is logged: what passed, or who wanted it regardless of what."""
    if verdict.passed:
        return f"gate: passed {len(verdict.findings)} checks"
    return f"gate overridden: {override}; refused for {' | '.join(map(str, verdict.refusals))}"
