"""The search: starts from the recipe, goes on where it stopped, stops what is hopeless, and prints what it found."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import optuna
import pytest

from features.adapters import load
from features.synthetic import SyntheticConfig, generate
from tests.tiny_encoder import write_tiny_encoder
from training import recipes, tune
from training.config import TrainConfig
from training.dataset import item_texts
from training.recipes import small
from training.tune import Fold, as_recipe, lay_folds, recipe_as_is, score, suggest

BASE = small()


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def folds(count: int) -> list[Fold]:
    """Cutoffs that nothing is trained at."""
    return [Fold(datetime(2024, 1, day, tzinfo=UTC), None, None) for day in range(1, count + 1)]  # type: ignore[arg-type]


def leaves(config: TrainConfig, _: Fold) -> float:
    """The more leaves the better."""
    return config.ranker.chance_leaves / 127


def test_the_first_trial_is_the_recipe_itself(tmp_path: Path) -> None:
    study = tune.tune(leaves, folds(1), BASE, tmp_path / "s.db", trials=1, timeout_seconds=None, seed=0)
    assert study.trials[0].params == recipe_as_is(BASE)
    assert study.best_value == BASE.ranker.chance_leaves / 127
    assert suggest(optuna.trial.FixedTrial(recipe_as_is(BASE)), BASE) == BASE  # type: ignore[arg-type]


def test_a_study_goes_on_where_it_stopped_and_repeats_nothing(tmp_path: Path) -> None:
    first = tune.tune(leaves, folds(1), BASE, tmp_path / "s.db", trials=3, timeout_seconds=None, seed=0).trials
    again = tune.tune(leaves, folds(1), BASE, tmp_path / "s.db", trials=3, timeout_seconds=None, seed=0)
    assert [trial.params for trial in again.trials[:3]] == [trial.params for trial in first]
    assert len({str(trial.params) for trial in again.trials}) == 6


def test_the_same_seed_tries_the_same_and_another_seed_others(tmp_path: Path) -> None:
    studies = [
        tune.tune(leaves, folds(1), BASE, tmp_path / f"{name}.db", trials=2, timeout_seconds=None, seed=seed)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    first, again, other = ([trial.params for trial in study.trials] for study in studies)
    assert first == again
    assert first[1] != other[1]


def test_a_trial_below_the_median_is_stopped_before_its_second_cutoff(tmp_path: Path) -> None:
    calls: list[int] = []

    def falling(config: TrainConfig, fold: Fold) -> float:
        calls.append(fold.as_of.day)
        return 1.0 / len(calls)

    study = tune.tune(falling, folds(2), BASE, tmp_path / "s.db", trials=5, timeout_seconds=None, seed=0)
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE"] * 3 + ["PRUNED"] * 2
    assert calls == [1, 2, 1, 2, 1, 2, 1, 1]


def test_no_trial_starts_after_the_time_is_up(tmp_path: Path) -> None:
    study = tune.tune(leaves, folds(1), BASE, tmp_path / "s.db", trials=50, timeout_seconds=0.0, seed=0)
    assert len(study.trials) < 5


def test_what_was_found_is_a_recipe_that_python_reads_back() -> None:
    best = replace(BASE, ranker=replace(BASE.ranker, chance_leaves=63), interest=replace(BASE.interest, dropout=0.25))
    text = as_recipe(best, BASE, "small", "small, tuned.")
    names = {"replace": replace, "small": small, "TrainConfig": TrainConfig}
    exec(text, names)  # noqa: S102 - our own text
    assert names["tuned"]() == best  # type: ignore[operator]
    assert "chance_leaves=63" in text
    assert "text=" not in text


@pytest.mark.usefixtures("one_thread")
def test_two_real_trials_on_a_synthetic_shop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = "user_count=40,item_count=50,taste_count=4,weeks=9,seed=3,new_item_count=2"
    words = item_texts(
        generate(SyntheticConfig(user_count=40, item_count=50, taste_count=4, weeks=9, seed=3)).dataset.items
    )
    encoder = write_tiny_encoder(tmp_path / "encoder", " ".join(words.distinct).lower().split(), layers=1)
    company = replace(BASE.text.company, steps=1, batch_size=8, uniform_negatives=8)
    tiny = replace(
        BASE,
        text=replace(BASE.text, encoder=encoder, trained_layers=1, steps=1, batch_size=8, company=company),
        interest=replace(BASE.interest, steps=1, batch_size=4, layers=1),
        ranker=replace(BASE.ranker, chance_trees=2, order_trees=2),
    )
    monkeypatch.setattr(tune, "RECIPES", {"laptop": lambda: tiny})
    common = ["--storage", str(tmp_path), "--cache", str(tmp_path / "data"), "--folds", "1", "--study", "s"]
    tune.main(["--data", f"synthetic:{shop}", "--trials", "2", *common])
    assert "def tuned() -> TrainConfig:" in capsys.readouterr().out
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 's.db'}")
    values = [trial.value for trial in study.trials]
    assert all(value is not None and 0 < value < 1 for value in values)
    data = load(f"synthetic:{shop}", tmp_path / "data")
    (fold,) = lay_folds(data, tiny, data.calendar.week_end(9), 1)
    assert score(data, fold, tiny, seed=0) == pytest.approx(values[0])
    assert recipes.RECIPES["small"]() == BASE
