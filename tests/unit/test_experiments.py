"""Experiments: who is in which variant, what it changes, and what a file of them must say."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aisle.v1 import recommendation_service_pb2 as messages

from services.common.errors import InvalidField
from services.common.settings import SettingsError
from services.ranking.experiments import Experiment, assigned, check_overrides, load_experiments
from services.ranking.ordering import Diversity, PriceRerank
from services.ranking.shaping import Taste

VARIETY = {"id": "variety", "variants": {"control": {"share": 70}, "varied": {"share": 30, "diversity": "HIGH"}}}
PRICE = {"id": "price", "variants": {"plain": {"share": 50}, "dear": {"share": 50, "price_rerank": "LOW"}}}
BOTH = (Experiment.model_validate(VARIETY), Experiment.model_validate(PRICE))
SHOPPERS = [f"shopper-{number}" for number in range(4000)]


def written(folder: Path, content: Any) -> Path:
    path = folder / "experiments.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_shoppers_are_divided_by_the_shares_and_stay_where_they_are() -> None:
    counts = Counter(BOTH[0].variant_of(shopper) for shopper in SHOPPERS)
    assert counts["varied"] / len(SHOPPERS) == pytest.approx(0.3, abs=0.03)
    again = Experiment.model_validate(VARIETY)
    assert all(again.variant_of(shopper) == BOTH[0].variant_of(shopper) for shopper in SHOPPERS[:200])


def test_one_experiment_says_nothing_about_another() -> None:
    varied = [shopper for shopper in SHOPPERS if BOTH[0].variant_of(shopper) == "varied"]
    dear = sum(BOTH[1].variant_of(shopper) == "dear" for shopper in varied) / len(varied)
    assert dear == pytest.approx(0.5, abs=0.05)


def test_nobody_moves_from_the_control_when_the_other_variant_shrinks() -> None:
    smaller = {"control": {"share": 90}, "varied": {"share": 10}}
    after = Experiment.model_validate(VARIETY | {"variants": smaller})
    stayed = [s for s in SHOPPERS if BOTH[0].variant_of(s) == "control"]
    assert all(after.variant_of(shopper) == "control" for shopper in stayed)


def test_variants_change_the_taste_and_are_named() -> None:
    for shopper in SHOPPERS[:50]:
        request = messages.RecommendRequest(user_id=shopper)
        taste, names = assigned(BOTH, request, Taste(diversity=Diversity.LOW))
        varied, dear = (one.variant_of(shopper) for one in BOTH)
        assert names == [f"variety:{varied}", f"price:{dear}"]
        assert taste.diversity == (Diversity.HIGH if varied == "varied" else Diversity.LOW)
        assert taste.price == (PriceRerank.LOW if dear == "dear" else PriceRerank.NONE)
        assert assigned(BOTH, messages.RankRequest(visitor_id=shopper), Taste())[1] == names


def test_an_override_decides_and_nobody_in_particular_takes_part_in_nothing_else() -> None:
    request = messages.RecommendRequest(experiment_overrides={"variety": "varied"})
    assert assigned(BOTH, request, Taste()) == (Taste(diversity=Diversity.HIGH), ["variety:varied"])
    assert assigned(BOTH, messages.RecommendRequest(), Taste()) == (Taste(), [])
    check_overrides(BOTH, request.experiment_overrides)


@pytest.mark.parametrize(("overrides", "said"), [({"gone": "a"}, "no experiment 'gone' runs"), ({"price": "b"}, "'b'")])
def test_overrides_of_what_does_not_exist_are_refused(overrides: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidField, match=f"experiment_overrides: .*{said}"):
        check_overrides(BOTH, overrides)


def test_a_file_of_experiments_is_read_and_none_is_none(tmp_path: Path) -> None:
    assert load_experiments(written(tmp_path, [VARIETY, PRICE])) == BOTH
    assert load_experiments(None) == ()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("not json", "Invalid JSON"),
        ([{"id": "a", "variants": {}}], "variants"),
        ([{"id": "a", "variants": {"x": {"share": 99}}}], "shares of 'a' must sum to 100, sum to 99"),
        ([{"id": "a:b", "variants": {"x": {"share": 100}}}], "id"),
        ([{"id": "a", "variants": {"x": {"share": 100, "speed": 1}}}], "speed"),
        ([{"id": "a", "variants": {"x": {"share": 100, "diversity": "SOME"}}}], "diversity"),
        ([PRICE, PRICE], "'price' is there twice"),
    ],
)
def test_a_file_that_says_something_else_is_refused_by_name(tmp_path: Path, content: Any, said: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(SettingsError, match="AISLE_EXPERIMENTS") as caught:
        load_experiments(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"AISLE_EXPERIMENTS: .*gone\.json"):
        load_experiments(tmp_path / "gone.json")
