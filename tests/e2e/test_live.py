"""From an event to a list, through every real process: what AREA=live promises of freshness, in small."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.stack import Stack, running_stack
from tests.acceptance.live_freshness import BOUND_SECONDS, measured
from tests.trained_shop import TrainedShop


@pytest.fixture(scope="module")
def own_stack(
    trained_shop: TrainedShop, triton_venv: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """Of this module alone: what is written here would be in the lists of other tests."""
    build = tmp_path_factory.mktemp("live")
    with running_stack(replace(trained_shop.stack_config(triton_venv), build=build)) as stack:
        yield stack


def test_a_click_and_a_new_item_are_in_the_next_lists(own_stack: Stack, trained_shop: TrainedShop) -> None:
    """Ten times the promised second, since other tests may share the machine."""
    rows = measured(own_stack, trained_shop.bundle, list(trained_shop.shop.user_tastes)[-5:], 5, 5)
    late = [row for row in rows if row.name.endswith("longest_seconds") and float(row.value or 0) >= 10 * BOUND_SECONDS]
    assert late == []
