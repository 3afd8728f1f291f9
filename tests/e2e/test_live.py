"""From an event to a list, through every real process: what AREA=live promises of freshness, in small."""

from services.stack import Stack
from tests.acceptance.live_freshness import BOUND_SECONDS, measured
from tests.trained_shop import TrainedShop


def test_a_click_and_a_new_item_are_in_the_next_lists(shop_stack: Stack, trained_shop: TrainedShop) -> None:
    """Ten times the promised second, since other tests may share the machine."""
    rows = measured(shop_stack, trained_shop.bundle, list(trained_shop.shop.user_tastes)[-5:], 5, 5)
    late = [row for row in rows if row.name.endswith("longest_seconds") and float(row.value or 0) >= 10 * BOUND_SECONDS]
    assert late == []
