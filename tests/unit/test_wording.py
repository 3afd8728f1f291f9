"""What figures come to in words."""

from typing import Any

import pytest

from training.wording import change, interval, number, outcome, title_of, verdict, wording_of


def paired(ratio: float, low: float, high: float) -> dict[str, Any]:
    """Ours against the best baseline, whose mean is .1."""
    return {
        "ratio": ratio,
        "ratio_interval": [low, high],
        "difference": 0.1 * (ratio - 1),
        "difference_interval": [0.1 * (low - 1), 0.1 * (high - 1)],
    }


@pytest.mark.parametrize(
    ("found", "outcome", "sentence", "certainty"),
    [
        (
            paired(1.041, 1.021, 1.06),
            "better",
            "Aisle finds 4.1 % more of what shoppers bought next than the best simple method.",
            "95 % sure: 2.1 % to 6.0 %; best simple method: EASE.",
        ),
        (
            paired(0.9, 0.85, 0.96),
            "worse",
            "Aisle finds 10.0 % less of what shoppers bought next than the best simple method.",
            "95 % sure: 4.0 % to 15.0 %; best simple method: EASE.",
        ),
        (
            paired(1.012, 0.99, 1.03),
            "unclear",
            "Aisle finds about as much of what shoppers bought next as the best simple method.",
            "The measured difference, +1.2 %, is within chance. "
            "95 % sure: \N{MINUS SIGN}1.0 % to +3.0 %; best simple method: EASE.",
        ),
    ],
)
def test_the_verdict_says_more_less_or_that_it_cannot_tell(
    found: dict[str, Any], outcome: str, sentence: str, certainty: str
) -> None:
    said = verdict("all", "aisle", "ease", found, "bought")
    assert said.outcome == outcome
    assert f"{said.before} {said.finding} {said.after}".replace("\u00a0", " ") == sentence
    assert said.certainty.replace("\u00a0", " ") == certainty


def test_without_a_baseline_or_with_one_that_finds_nothing_there_is_no_verdict() -> None:
    alone = verdict("new", "aisle", None, None, "bought")
    assert (alone.finding, alone.certainty) == ("cannot be compared", "There is no baseline to compare with.")
    nothing = paired(1.0, 1.0, 1.0) | {"ratio": None, "ratio_interval": [None, None]}
    assert verdict("new", "aisle", "ease", nothing, "bought").certainty == "The best baseline finds nothing."


def test_a_ratio_whose_bounds_are_unknown_is_still_told() -> None:
    found = paired(1.5, 1.2, 1.8) | {"ratio_interval": [None, None]}
    said = verdict("cold", "aisle", "item_knn", found, "bought")
    assert said.finding.startswith("finds 50.0")
    assert said.certainty == "Best simple method: ItemKNN."


def test_an_interval_that_touches_zero_is_unclear() -> None:
    assert outcome({"difference_interval": [0.0, 0.2]}) == "unclear"
    assert outcome({"difference_interval": [0.01, 0.2]}) == "better"
    assert outcome({"difference_interval": [-0.2, -0.01]}) == "worse"
    assert outcome(None) == "unclear"


def test_figures_are_written_with_their_unit_and_sign() -> None:
    assert number(0.3172, "percent") == "31.7\u00a0%"
    assert number(0.3172, ".3f") == "0.317"
    assert number(None, "percent") == "\N{EN DASH}"
    assert interval([0.30, 0.33], "percent") == "30.0 to 33.0"
    assert interval(None, "percent") == ""
    assert [change(ratio) for ratio in (1.041, 0.9, 1.0001, None)] == [
        "+4.1\u00a0%",
        "\N{MINUS SIGN}10.0\u00a0%",
        "±0.0\u00a0%",
        "\N{EN DASH}",
    ]


def test_names_that_have_no_title_are_told_as_they_are() -> None:
    assert (title_of("ease"), title_of("my_method")) == ("EASE", "my method")
    assert wording_of("recall@10")[0] == "Recall@10"
    assert wording_of("my_metric@5")[0] == "my metric"
