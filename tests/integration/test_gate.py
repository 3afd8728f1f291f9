"""The gate over real bundles: an equal one is promoted, a damaged one is not and the log says why one is regardless."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from features.bundle import promote, serving_path
from features.schema import Dataset
from tests.damaged_bundles import as_it_is, pushing, resealed, with_rankers_upside_down, with_shuffled_vectors
from tests.trained_shop import TrainedShop
from training import gate
from training.gate import judge_bundles
from training.verdict import GateLimits

WEEKS = 2
LIMITS = GateLimits(resamples=2_000)


@pytest.fixture
def bundles(trained_shop: TrainedShop, tmp_path: Path) -> Path:
    """A folder of its own that serves the trained bundle's copy."""
    resealed(trained_shop.bundle, tmp_path, "old", as_it_is)
    promote(tmp_path, "old", "test", trained_shop.bundle.as_of)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, data: Dataset, bundles: Path, candidate: str, *more: str) -> None:
    """The command line over data that is at hand."""
    monkeypatch.setattr(gate, "load", lambda _name, _cache: data)
    monkeypatch.setattr(gate, "GateLimits", lambda: LIMITS)
    folders = ["--candidate", str(bundles / candidate), "--bundles", str(bundles)]
    gate.main([*folders, "--weeks", str(WEEKS), "--out", str(bundles.parent / "gate.json"), *more])


def last_move(bundles: Path) -> dict[str, str]:
    moves = (bundles / "serving.log").read_text().splitlines()
    found: dict[str, str] = json.loads(moves[-1])
    return found


def test_an_equal_bundle_is_promoted_with_the_reason_logged(
    trained_shop: TrainedShop, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resealed(trained_shop.bundle, bundles, "equal", as_it_is)
    run(monkeypatch, trained_shop.shop.dataset, bundles, "equal")
    assert serving_path(bundles).name == "equal"
    assert last_move(bundles)["reason"].startswith("gate: passed")
    assert json.loads((bundles.parent / "gate.json").read_text())["passed"] is True


def test_a_ranker_upside_down_is_refused_by_metric_and_not_promoted(
    trained_shop: TrainedShop, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resealed(trained_shop.bundle, bundles, "damaged", with_rankers_upside_down)
    with pytest.raises(SystemExit, match="refused; not promoted"):
        run(monkeypatch, trained_shop.shop.dataset, bundles, "damaged")
    assert serving_path(bundles).name == "old"
    reasons = json.loads((bundles.parent / "gate.json").read_text())["reasons"]
    assert any(reason.startswith("accuracy: recall@20 on all items: candidate 0.") for reason in reasons)


def test_an_override_promotes_what_was_refused_and_is_logged_with_its_reason(
    trained_shop: TrainedShop, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resealed(trained_shop.bundle, bundles, "damaged", with_rankers_upside_down)
    run(monkeypatch, trained_shop.shop.dataset, bundles, "damaged", "--override", "the old one leaks")
    assert serving_path(bundles).name == "damaged"
    assert last_move(bundles)["reason"].startswith(
        "gate overridden: the old one leaks; refused for accuracy: recall@20"
    )


def test_a_dry_run_promotes_nothing(trained_shop: TrainedShop, bundles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resealed(trained_shop.bundle, bundles, "equal", as_it_is)
    run(monkeypatch, trained_shop.shop.dataset, bundles, "equal", "--dry-run")
    assert serving_path(bundles).name == "old"


def test_shuffled_vectors_are_refused(trained_shop: TrainedShop, bundles: Path) -> None:
    damaged = resealed(trained_shop.bundle, bundles, "damaged", with_shuffled_vectors)
    verdict, _ = judge_bundles(trained_shop.shop.dataset, damaged, trained_shop.bundle, WEEKS, LIMITS, seed=0)
    assert "accuracy" in {found.check for found in verdict.refusals}


def test_a_ranker_that_pushes_flagged_items_is_refused_for_their_exposure(
    trained_shop: TrainedShop, bundles: Path
) -> None:
    data = trained_shop.shop.dataset
    pushed = data.events["item_id"].value_counts(sort=True)["item_id"][10:16].to_list()
    flagged = replace(data, items=data.items.with_columns(sensitive=pl.col("item_id").is_in(pushed)))
    candidate = resealed(trained_shop.bundle, bundles, "pushing", pushing(pushed, bonus=5.0))
    verdict, judgement = judge_bundles(flagged, candidate, trained_shop.bundle, WEEKS, LIMITS, seed=0)
    found = next(found for found in verdict.refusals if found.check == "exposure" and found.task == "all")
    assert found.candidate > 1.25 * found.serving + 0.002
    assert found.candidate == pytest.approx(judgement.tasks["all"]["candidate"]["flagged@20"])


def test_data_that_ends_at_the_cutoff_judges_nothing(trained_shop: TrainedShop) -> None:
    data, as_of = trained_shop.shop.dataset, trained_shop.bundle.as_of
    ended = replace(data, events=data.events.filter(pl.col("event_time") < as_of))
    with pytest.raises(ValueError, match=r"no event in the 2 weeks after .*; nothing to judge by"):
        judge_bundles(ended, trained_shop.bundle, trained_shop.bundle, WEEKS, LIMITS, seed=0)


def test_the_first_bundle_is_promoted_without_a_rival(trained_shop: TrainedShop, tmp_path: Path) -> None:
    resealed(trained_shop.bundle, tmp_path, "first", as_it_is)
    gate.main(["--candidate", str(tmp_path / "first"), "--bundles", str(tmp_path)])
    assert last_move(tmp_path)["reason"] == "gate: the first bundle; nothing to judge it against"
