"""How figures are said to people: names and meanings of metrics and systems, numbers, and the verdict."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NBSP, MINUS, NOTHING = "\N{NO-BREAK SPACE}", "\N{MINUS SIGN}", "\N{EN DASH}"
TITLES = {
    "aisle": "Aisle",
    "popularity": "Popularity",
    "popularity_recent": "Popularity, last days",
    "recency_frequency": "Recency-weighted frequency",
    "item_knn": "ItemKNN",
    "item_knn_text": "ItemKNN + text",
    "ease": "EASE",
    "als": "ALS",
    "bpr": "BPR",
    "zero_shot": "Zero-shot text",
}
"""Of systems; one that is not here is told by its own name."""
TASKS = {
    "all": ("All items", "Anything may be shown, what a shopper {verb} before included."),
    "new": (
        "New to the shopper",
        "What a shopper {verb} before is left out of every system's list, and does not count.",
    ),
    "cold": (
        "Cold items",
        "As above, and only items count that had been withheld from training; they compete with the whole catalogue.",
    ),
}
"""Title, and what the task asks."""


@dataclass(frozen=True, slots=True)
class Wording:
    """A metric for people."""

    name: str
    words: str
    form: str
    """`percent` or a format of the number."""


METRICS = {
    "recall": Wording(
        "Recall",
        "the share of what a shopper {verb} next that is on the list; as a list of k can hold k finds at most, of at "
        "most k.",
        "percent",
    ),
    "ndcg": Wording("NDCG", "recall that counts a find at the top of the list more, 1 for the best order.", ".3f"),
    "hit": Wording("Hit rate", "the share of shoppers for whom at least one item of the list was right.", "percent"),
    "mrr": Wording("MRR", "the mean of 1 / place of the first right item, 0 without one.", ".3f"),
    "coverage": Wording("Coverage", "share of the catalogue that at least one shopper is shown.", "percent"),
    "long_tail": Wording(
        "Long tail",
        "share of places for items outside the most popular ones that together hold 80 % of all event weight.",
        "percent",
    ),
    "novelty": Wording("Novelty", "mean surprise of an item, log2 of 1 / its share of event weight, in bits.", ".1f"),
    "diversity": Wording(
        "Diversity",
        "mean distance of a list's pairs of items: 1 less the cosine of their vectors, 0 for equal items.",
        ".2f",
    ),
    "miscalibration": Wording(
        "Miscalibration",
        "how far the categories of a list are from those of the shopper's history (Steck 2018: Kullback-Leibler "
        "divergence, smoothing .01); 0 keeps the mix.",
        ".2f",
    ),
    "flagged": Wording("Flagged items", "share of places for items that the shop flagged as sensitive.", "percent"),
}
ACCURACY = ("recall", "ndcg", "hit", "mrr")


def title_of(system: str) -> str:
    """Name of a system."""
    return TITLES.get(system, system.replace("_", " "))


def wording_of(metric: str) -> tuple[str, Wording]:
    """Name with k, as in `Recall@20`, and the wording, of a metric such as `recall@20`."""
    family, _, k = metric.partition("@")
    wording = METRICS.get(family, Wording(family.replace("_", " "), "", ".3f"))
    return f"{wording.name}@{k}" if family in ACCURACY else wording.name, wording


def number(value: float | None, form: str) -> str:
    """A figure as the page writes it; a dash where there is none."""
    if value is None:
        return NOTHING
    return f"{100 * value:.1f}{NBSP}%" if form == "percent" else format(value, form)


def interval(bounds: list[float] | None, form: str) -> str:
    """Two figures with one unit; empty without bounds."""
    if not bounds:
        return ""
    low, high = (number(bound, form).removesuffix(f"{NBSP}%") for bound in bounds)
    return f"{low} to {high}"


def change(ratio: float | None) -> str:
    """A ratio of means as a signed difference in percent."""
    if ratio is None:
        return NOTHING
    percent = 100 * (ratio - 1)
    sign = "+" if percent >= 0.05 else MINUS if percent <= -0.05 else "±"
    return f"{sign}{abs(percent):.1f}{NBSP}%"


def changes(bounds: list[float | None]) -> str:
    """Two ratios as signed differences."""
    return "" if None in bounds else f"{change(bounds[0])} to {change(bounds[1])}"


def outcome(paired: Mapping[str, Any] | None) -> str:
    """`better`, `worse`, or `unclear` where the interval of the difference holds 0."""
    if paired is None:
        return "unclear"
    low, high = paired["difference_interval"]
    return "better" if low is not None and low > 0 else "worse" if high is not None and high < 0 else "unclear"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A sentence, its middle part being what was found."""

    outcome: str
    before: str
    finding: str
    after: str
    certainty: str


def verdict(task: str, ours: str, best: str | None, paired: Mapping[str, Any] | None, verb: str) -> Verdict:
    """What a task's figures come to.

    Args:
        task: `all`, `new` or `cold`.
        ours: The system judged.
        best: The task's best baseline, if there is one.
        paired: Ours against it in the headline metric, as JSON has it.
        verb: What shoppers did, as in `shoppers bought`.
    """
    name = title_of(ours)
    if best is None or paired is None or paired["ratio"] is None:
        reason = "There is no baseline to compare with." if best is None else "The best baseline finds nothing."
        return Verdict("unclear", name, "cannot be compared", f"on {_wanted(task, verb)}.", reason)
    found, ratio = outcome(paired), paired["ratio"]
    size = f"{abs(100 * (ratio - 1)):.1f}{NBSP}%"
    finding = {"better": f"finds {size} more", "worse": f"finds {size} less", "unclear": "finds about as much"}[found]
    ending = "as the best simple method." if found == "unclear" else "than the best simple method."
    bounds = ""
    if None not in paired["ratio_interval"]:
        said = [_without_sign(bound, found) for bound in sorted(paired["ratio_interval"], reverse=found == "worse")]
        bounds = f"95{NBSP}% sure: {said[0]} to {said[1]}; "
    certainty = f"{bounds}best simple method: {title_of(best)}."
    if found == "unclear":
        certainty = f"The measured difference, {change(ratio)}, is within chance. " + certainty
    return Verdict(found, name, finding, f"of {_wanted(task, verb)} {ending}", certainty[0].upper() + certainty[1:])


def _wanted(task: str, verb: str) -> str:
    return {
        "all": f"what shoppers {verb} next",
        "new": f"what shoppers {verb} for the first time",
        "cold": f"what shoppers {verb} of items new to the shop",
    }.get(task, f"what shoppers {verb} under {task}")


def _without_sign(ratio: float, found: str) -> str:
    """A bound without a sign where the finding already says more or less."""
    percent = 100 * (ratio - 1)
    if found == "unclear":
        return change(ratio)
    return f"{percent if found == 'better' else -percent:.1f}{NBSP}%"
