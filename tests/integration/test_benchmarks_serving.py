"""The serving comparisons, small, over the synthetic shop: both sides are real and answer the same question.

Who is ahead is not asked of so few rounds, but where nothing else is possible: an empty call is the floor.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import ingest, ranking
from benchmarks.rows import Row
from services.stack import StackConfig
from tests.trained_shop import TrainedShop


@pytest.fixture(scope="module")
def config(trained_shop: TrainedShop, triton_venv: Path, tmp_path_factory: pytest.TempPathFactory) -> StackConfig:
    """A stack of this module's own: the shared one is not to be written to."""
    return replace(trained_shop.stack_config(triton_venv), build=tmp_path_factory.mktemp("bench"), live=False)


def by_name(rows: list[Row]) -> dict[str, Row]:
    assert all(row.ours > 0 and row.theirs > 0 for row in rows)
    return {row.name: row for row in rows}


def test_recommend_and_the_merlin_shape_give_one_list_and_an_empty_call_is_the_floor(config: StackConfig) -> None:
    size = ranking.Size(rounds=3, calls=3, warm_up_rounds=1, shoppers=8, compared_lists=8)
    rows = by_name(ranking.measured(config, size))
    assert "share 100.0%" in rows["ranking.merlin_shape_feast"].method
    assert "share 100.0%" in rows["ranking.merlin_shape_pipeline"].method
    assert rows["ranking.recommend_over_an_empty_call"].value < 1.0
    assert rows["ranking.merlin_shape_feast"].theirs > rows["ranking.recommend_over_an_empty_call"].theirs
    assert rows["ranking.features_of_500_items"].ahead


def test_every_way_of_taking_events_in_takes_them_in(config: StackConfig, trained_shop: TrainedShop) -> None:
    size = ingest.Size(rounds=2, alone=3, batches=1, warm_up_rounds=1, shoppers=40)
    rows = by_name(ingest.measured(config.data, trained_shop.bundles, config.build, size))
    assert len(rows) == 4
    assert list(config.build.glob("bench-ingest-*")) == []
