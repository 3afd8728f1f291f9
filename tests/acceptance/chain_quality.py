"""Lines 4 and 5: what serves is what was evaluated, and it beats the baselines."""

import asyncio
from pathlib import Path

from features.adapters import load
from features.bundle import open_bundle, serving_path
from services.stack import StackConfig, running_stack
from tests.acceptance.rows import Row, at_least, at_most
from tests.parity.measures import Served, interest_difference, item_differences, list_differences, user_differences
from training.evaluate import evaluate, examine

DATA = "complete-journey"
BUILD = Path("build")
BUNDLES = Path("bundles")
_FEATURE_SHOPPERS = 200
_LIST_SHOPPERS = 500


def parity() -> list[Row]:
    """Line 4: interest scores, features and lists, served against computed."""
    data, bundle = load(DATA, BUILD / "data"), open_bundle(serving_path(BUNDLES))
    examined = examine(data, bundle)
    with running_stack(StackConfig(data=DATA, ranking_port=0, live=False, clock="as-of")) as stack:
        served = Served(stack, BUILD, data, bundle, examined)
        share, gap = list_differences(served, _LIST_SHOPPERS)
        interest = asyncio.run(interest_difference(served, _FEATURE_SHOPPERS))
        users = asyncio.run(user_differences(served, _FEATURE_SHOPPERS))
        items = item_differences(served)
    return [
        at_most("interest_score_triton_minus_torch", interest, 1e-3),
        at_most("user_feature_values_that_differ", users, 0),
        at_most("item_feature_values_that_differ", items, 0),
        at_least("served_lists_equal_to_evaluated_share", share, 0.995),
        at_most("largest_score_gap_where_lists_differ", gap, 1e-4),
    ]


def time_split() -> list[Row]:
    """Line 5: Recall@20 of the served list on the four weeks after the cutoff."""
    tasks = evaluate(load(DATA, BUILD / "data"), open_bundle(serving_path(BUNDLES)), seed=0)

    def recall(task: str, system: str) -> float:
        return round(float(str(tasks[task][system]["recall@20"])), 4)

    return [
        at_least("all_items_over_popularity", recall("all", "aisle"), recall("all", "popularity")),
        at_least("all_items_over_recency_frequency", recall("all", "aisle"), recall("all", "recency_frequency")),
        at_least("new_items_over_popularity", recall("new", "aisle"), recall("new", "popularity")),
    ]
