"""Who gets the places: brands and categories beside what shoppers' events and histories ask for, and flagged items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from features.vocab import Rows
from training.list_metrics import share_of_all_places
from training.metrics import Doubles
from training.shopper_metrics import Asked, ItemFacts, category_shares

LISTED = 15
"""Groups told one by one; the rest is summed up."""
REST = "all others"


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of G listed groups, the last of them REST where there are more; each list of length G."""

    groups: list[str]
    wanted: list[float]
    """Brands: share of event weight before the window. Categories: mean share of the shoppers' distinct items."""
    systems: dict[str, list[float]]
    """Share of places of every system."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """Under one task; None where the items say nothing of it."""

    brands: Shares | None
    """The brands with most of our places first."""
    categories: Shares | None
    """The categories with most of the shoppers' histories first; means over shoppers with a history."""
    flagged_wanted: float | None
    """Share of event weight that flagged items have; their share of places is the metric `flagged`."""


def exposure_of(
    systems: Mapping[str, Sequence[Rows]], queries: Sequence[Asked], facts: ItemFacts, k: int, ours: str
) -> Exposure:
    """Shares of the first k places of every system's lists."""
    flagged = None
    if facts.flagged is not None and facts.weights is not None:
        flagged = float(facts.weights[facts.flagged].sum() / max(facts.weights.sum(), 1e-12))
    return Exposure(_brands(systems, facts, k, ours), _categories(systems, queries, facts, k), flagged)


def _brands(systems: Mapping[str, Sequence[Rows]], facts: ItemFacts, k: int, ours: str) -> Shares | None:
    if facts.brands is None or facts.weights is None or not facts.brand_names:
        return None
    count, branded = len(facts.brand_names), facts.brands >= 0
    wanted = np.bincount(facts.brands[branded], facts.weights[branded], count) / max(facts.weights.sum(), 1e-12)
    shown = {
        name: share_of_all_places([rows[:k] for rows in lists], facts.brands, count) for name, lists in systems.items()
    }
    return _listed(facts.brand_names, wanted, shown, shown.get(ours, wanted))


def _categories(
    systems: Mapping[str, Sequence[Rows]], queries: Sequence[Asked], facts: ItemFacts, k: int
) -> Shares | None:
    if facts.categories is None or not facts.category_names:
        return None
    shown, wanted = {}, np.zeros(len(facts.category_names))
    for name, lists in systems.items():
        history, of_list = category_shares(lists, queries, facts, k)
        known = history.any(axis=1)
        wanted = history[known].sum(axis=0) / max(known.sum(), 1)
        shown[name] = of_list[known].sum(axis=0) / max(known.sum(), 1)
    return _listed(facts.category_names, wanted, shown, wanted)


def _listed(names: Sequence[str], wanted: Doubles, shown: Mapping[str, Doubles], order_by: Doubles) -> Shares:
    order = np.argsort(-order_by, kind="stable")

    def listed(values: Doubles) -> list[float]:
        rest = [float(values[order[LISTED:]].sum())] if len(names) > LISTED else []
        return [*values[order[:LISTED]].tolist(), *rest]

    groups = [names[group] for group in order[:LISTED]] + ([REST] if len(names) > LISTED else [])
    return Shares(groups, listed(wanted), {name: listed(values) for name, values in shown.items()})
