"""What serves is what was trained and evaluated, on the synthetic shop through every real process."""

import pytest

from services.stack import Stack
from tests.parity.measures import Served, interest_difference, item_differences, list_differences, user_differences
from tests.trained_shop import TrainedShop
from training.evaluate import examine


@pytest.fixture(scope="module")
def served(shop_stack: Stack, trained_shop: TrainedShop) -> Served:
    """The stack beside the same bundle opened for evaluation on its last two weeks."""
    data, bundle = trained_shop.shop.dataset, trained_shop.bundle
    return Served(shop_stack, trained_shop.build, data, bundle, examine(data, bundle, weeks=2))


async def test_triton_scores_interest_as_torch_does(served: Served) -> None:
    """Within 1e-3 for every item."""
    assert await interest_difference(served, 50) < 1e-3


async def test_shoppers_features_are_the_same_online_and_offline(served: Served) -> None:
    """Every feature, to the last bit."""
    assert await user_differences(served, 50) == 0


def test_items_features_are_the_same_online_and_in_the_bundle(served: Served) -> None:
    """Every feature of every item, to the last bit."""
    assert item_differences(served) == 0


def test_served_lists_are_the_evaluated_ones(served: Served) -> None:
    """The rest may differ only where scores are as good as equal."""
    share, gap = list_differences(served, 100)
    assert share >= 0.99
    assert gap <= 1e-4
