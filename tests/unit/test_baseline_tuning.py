"""Tuning finds the best of what it may try, within its budget, for each task by itself."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from features.vocab import Rows
from tests.unit.baseline_shop import AS_OF_US, ITEM_COUNT, items_of_kind, kinds_of_shoppers
from training.baselines.spaces import SPACES, Material, Reading, Scores, Settings, Space
from training.baselines.tuning import TASKS, mean_recall, refit, sampled, tune
from training.dataset import Sequences
from training.metrics import Doubles


@dataclass(frozen=True)
class Asked:
    """A question."""

    user_id: str
    truth: Rows
    seen: Rows


@dataclass(frozen=True)
class Shelf:
    """A baseline that shows items from `first` on."""

    first: int

    def scores(self, user_id: str) -> Doubles:  # noqa: ARG002 - one list for everybody
        """See `Scores`."""
        nearness: Doubles = -np.abs(np.arange(ITEM_COUNT) - self.first - 0.25)
        return nearness


@dataclass(frozen=True)
class Fitter:
    """Makes shelves that begin at `aisle` + `step` + `half`, and remembers what was fitted and read."""

    fits: list[Settings] = field(default_factory=list)
    readings: list[Settings] = field(default_factory=list)

    def __call__(self, _: Material, fit: Settings) -> Reading:
        """See `Space.fit`."""
        self.fits.append(fit)

        def read(reading: Settings) -> Scores:
            self.readings.append({**fit, **reading})
            return Shelf(int(fit.get("aisle", 0) + sum(reading.values())))

        return read


def rows(*numbers: int) -> Rows:
    """Rows as an array."""
    return np.array(numbers, dtype=np.int32)


@pytest.fixture(scope="module")
def material() -> Material:
    vectors = np.random.default_rng(0).standard_normal((ITEM_COUNT, 4)).astype(np.float32)
    return Material(kinds_of_shoppers(), AS_OF_US, vectors)


QUESTIONS = [Asked("user-000", rows(7, 20), rows(7, 8))] * 2 + [Asked("user-001", rows(5, 18), rows(5))]
"""Items 7 and 5 again, 20 and 18 anew."""
AISLES: tuple[Settings, ...] = ({"aisle": 2}, {"aisle": 5}, {"aisle": 18}, {"aisle": 5})


def test_the_best_setting_is_found_for_each_task(material: Material) -> None:
    space = Space(Fitter(), AISLES, {"step": (0, 2, 1), "half": (0, 1)})
    found = tune({"shelf": space}, material, QUESTIONS, k=1)["shelf"]
    assert (found["all"].fit, found["all"].reading) == ({"aisle": 5}, {"step": 2, "half": 0})
    assert (found["new"].fit, found["new"].reading) == ({"aisle": 18}, {"step": 2, "half": 0})
    assert found["all"].validation == found["new"].validation == 2 / 3


def test_a_fit_costs_a_trial_and_a_reading_does_not(material: Material) -> None:
    fitter = Fitter()
    space = Space(fitter, AISLES, {"step": (0, 1, 2, 3, 4)})
    found = tune({"shelf": space}, material, QUESTIONS, k=1, trials=2)["shelf"]
    assert fitter.fits == [{"aisle": 2}, {"aisle": 5}]
    assert (found["all"].trials, found["all"].readings) == (2, 6)
    assert found["all"].validation == 2 / 3
    assert found["new"].validation == 0.0


def test_parameters_are_moved_one_after_the_other(material: Material) -> None:
    fitter = Fitter()
    space = Space(fitter, ({"aisle": 4},), {"step": (0, 3, 9), "half": (0, 1, 2)})
    tune({"shelf": space}, material, QUESTIONS, k=1, tasks=["all"])
    tried = [(reading["step"], reading["half"]) for reading in fitter.readings]
    assert tried == [(0, 0), (3, 0), (9, 0), (3, 1), (3, 2)]


def test_a_tie_keeps_the_earlier_setting(material: Material) -> None:
    space = Space(Fitter(), ({"aisle": 7, "name": 1}, {"aisle": 7, "name": 2}), {"step": (0, 0)})
    assert tune({"shelf": space}, material, QUESTIONS, k=1)["shelf"]["all"].fit == {"aisle": 7, "name": 1}


def test_one_baseline_may_take_over_the_fits_chosen_for_another(material: Material) -> None:
    fitter = Fitter()
    spaces = {"shelf": Space(Fitter(), AISLES, {"step": (2,)}), "like": Space(fitter, fitted_like="shelf")}
    tune(spaces, material, QUESTIONS, k=1)
    assert fitter.fits == [{"aisle": 5}, {"aisle": 18}]


def test_baselines_that_read_text_are_left_out_without_vectors(material: Material) -> None:
    spaces = {"shelf": Space(Fitter()), "reader": Space(Fitter(), reads_text=True)}
    without = Material(material.sequences, AS_OF_US)
    assert list(tune(spaces, without, QUESTIONS, k=1)) == ["shelf"]
    assert list(tune(spaces, material, QUESTIONS, k=1)) == ["shelf", "reader"]
    with pytest.raises(ValueError, match="vectors: missing"):
        SPACES["zero_shot"].fit(without, {})({"last": 3.0})


def test_refitting_makes_the_chosen_from_what_it_is_given_and_shares_fits(material: Material) -> None:
    fitter = Fitter()
    spaces = {"shelf": Space(fitter, AISLES[1:2], {"step": (0, 2, 15)})}
    choices = tune(spaces, material, QUESTIONS, k=1)
    fitter.fits.clear()
    made = refit(spaces, choices, material)["shelf"]
    assert fitter.fits == [{"aisle": 5}]
    assert (made["all"], made["new"]) == (Shelf(7), Shelf(20))


def test_tasks_that_differ_get_a_fit_each(material: Material) -> None:
    spaces = {"shelf": Space(Fitter(), AISLES, {"step": (0, 2)})}
    made = refit(spaces, tune(spaces, material, QUESTIONS, k=1), material)["shelf"]
    assert (made["all"], made["new"]) == (Shelf(7), Shelf(20))


def test_recall_masks_what_was_seen_for_new_items_and_skips_who_is_left_without_truth() -> None:
    questions = [Asked("a", rows(1, 2), rows(1)), Asked("b", rows(1), rows(1, 2)), Asked("c", rows(9), rows())]
    assert mean_recall(Shelf(1), questions, TASKS, k=1) == {"all": 2 / 3, "new": 1 / 2}
    assert mean_recall(Shelf(1), questions[1:2], ["new"], k=1) == {"new": 0.0}


def test_a_sample_is_the_same_for_the_same_seed_and_keeps_the_order() -> None:
    questions = [Asked(str(number), rows(number), rows()) for number in range(50)]
    once, again, other = sampled(questions, 20, 1), sampled(questions, 20, 1), sampled(questions, 20, 2)
    numbers = [int(question.user_id) for question in once]
    assert once == again != other
    assert numbers == sorted(set(numbers))
    assert sampled(questions, 500, 1) == questions


def kinds_asked(sequences: Sequences) -> list[Asked]:
    """Every shopper is asked for what they have not had of their kind."""
    return [
        Asked(user_id, items_of_kind(user // 12), sequences.rows[sequences.starts[user] : sequences.starts[user + 1]])
        for user, user_id in enumerate(sequences.user_ids[:-1])
    ]


def test_every_stated_setting_can_be_made_and_names_what_it_sets(material: Material) -> None:
    asked = kinds_asked(material.sequences)[::6]
    choices = tune(SPACES, material, asked, k=2)
    assert set(choices) == set(SPACES)
    for name, space in SPACES.items():
        for choice in choices[name].values():
            assert choice.trials <= 6
            assert set(choice.reading) == set(space.readings)
    made = refit(SPACES, choices, material)
    for name in ("item_knn", "ease", "als"):
        assert mean_recall(made[name]["new"], asked, ["new"], 2)["new"] == pytest.approx(
            choices[name]["new"].validation
        )
        assert choices[name]["new"].validation > choices["popularity"]["new"].validation
