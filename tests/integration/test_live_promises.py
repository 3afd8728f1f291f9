"""What AREA=live promises, in small: the very measurements of `make accept`, over the tiny shop and real processes."""

from pathlib import Path

import pytest

from tests.acceptance.live_bad_input import measured as bad_input
from tests.acceptance.live_forgotten import measured as forgotten
from tests.acceptance.live_kills import Plan, killed_rounds
from tests.acceptance.live_parts import Folders
from tests.acceptance.live_throughput import measured as throughput
from tests.acceptance.rows import Row
from tests.tiny_shop import write_shop_bundle

_DEPENDS_ON_THE_MACHINE = {"events_per_second", "ingest_cpu_us_per_event"}


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    """The tiny shop's bundle, promoted."""
    write_shop_bundle(tmp_path / "bundles", seed=1)
    return tmp_path / "bundles"


def unmet(rows: list[Row]) -> list[str]:
    """The rows that miss their bound; figures that a busy machine changes are not judged here."""
    return [f"{row.name}: {row.value}" for row in rows if row.met is False and row.name not in _DEPENDS_ON_THE_MACHINE]


def test_killed_parts_lose_nothing_and_count_nothing_twice(tmp_path: Path, bundles: Path) -> None:
    plan = Plan(rounds=4, events_between=(50, 200))
    assert unmet(killed_rounds(tmp_path / "shop", bundles, plan, {"LOG_SECONDS": 1})) == []


def test_every_bad_event_is_told_and_the_rest_is_kept(tmp_path: Path, bundles: Path) -> None:
    assert unmet(bad_input(Folders(tmp_path / "shop", bundles), batches=10, large=1_000_000)) == []


def test_a_load_without_pause_is_taken_in(tmp_path: Path, bundles: Path) -> None:
    assert unmet(throughput(Folders(tmp_path / "shop", bundles), seconds=1.0)) == []


def test_a_forgotten_shopper_leaves_no_trace(tmp_path: Path, bundles: Path) -> None:
    assert unmet(forgotten(tmp_path / "shop", bundles)) == []
