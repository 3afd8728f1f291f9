"""Sensitive text is found and harmless text is left alone; a list that cannot be used is refused by name."""

from pathlib import Path

import pytest

from features.live_items import LiveItem
from services.common.settings import NamedFile, SettingsError
from services.ingest.catalog.flags import AllOf, Refusal, Rule, RuleClassifier, Verdict, load_rules

HARMLESS = [
    "Hot glue gun with 20 sticks",
    "Adult cat food, chicken",
    "Nappies for adults",
    "Nicotine gum 2 mg, helps you stop smoking",
    "Chef's knife 20 cm",
    "Weed killer",
    "Hemp seeds",
    "Water pistachio ice cream",
    "Red wine, 750 ml",
    "Canon EOS camera, shoots 20 frames a second",
    "Essex honey",
    "Heroine: a novel",
    "Explosive flavour crisps",
]
SENSITIVE = {
    "Filter CIGARETTES, 20 pieces": "tobacco",
    "Vape starter kit": "tobacco",
    "Hunting rifle scope": "firearms",
    "9 mm ammunition": "firearms",
    "Pepper spray 50 ml": "weapons",
    "Silicone dildo": "adult",
    "Cannabis seeds": "drugs",
    "Lottery ticket": "gambling",
    "Nazi memorabilia": "hate",
    "ｖａｐｅ starter kit": "tobacco",  # noqa: RUF001 - full-width letters
    "ci\u200bgar\u00adettes": "tobacco",
}


async def judged(rules: list[Rule], **fields: object) -> Verdict:
    (verdict,) = await RuleClassifier(rules).judge([LiveItem(item_id="I", **fields)])  # type: ignore[arg-type]
    return verdict


@pytest.mark.parametrize("title", HARMLESS)
async def test_the_default_list_leaves_harmless_items_alone(title: str) -> None:
    (verdict,) = await load_rules(None).judge([LiveItem(item_id="I", title=title)])
    assert verdict == Verdict()


@pytest.mark.parametrize(("title", "name"), SENSITIVE.items())
async def test_the_default_list_names_what_is_sensitive(title: str, name: str) -> None:
    (verdict,) = await load_rules(None).judge([LiveItem(item_id="I", title=title)])
    assert verdict == Verdict(flags=(name,))


async def test_the_default_list_keeps_out_what_no_shop_sells() -> None:
    (verdict,) = await load_rules(None).judge([LiveItem(item_id="I", title="Pictures", description="Child porn")])
    assert verdict.refusal == Refusal("description", "is not for sale here (rule 'child-abuse')")


async def test_a_rule_reads_the_fields_that_it_names_and_no_others() -> None:
    rules = [Rule(name="wine", pattern="wine", fields=("category_path", "attributes"))]
    assert await judged(rules, title="Wine", description="wine", brand="Wine & Co") == Verdict()
    assert await judged(rules, category=("Cellar", "Red WINE")) == Verdict(flags=("wine",))
    assert await judged(rules, attributes=(("contains", "wine"),)) == Verdict(flags=("wine",))


async def test_a_refusal_says_where_and_goes_before_flags() -> None:
    rules = [Rule(name="a", pattern="wine"), Rule(name="b", pattern="red", action="reject")]
    verdict = await judged(rules, title="Wine", category=("Cellar", "Red"))
    assert verdict == Verdict(refusal=Refusal("category_path[1]", "is not for sale here (rule 'b')"))


async def test_a_model_stands_beside_the_rules() -> None:
    class Model:
        """Finds everything suspicious."""

        async def judge(self, items: list[LiveItem]) -> list[Verdict]:
            return [Verdict(flags=("model",))] * len(items)

    both = AllOf(RuleClassifier([Rule(name="wine", pattern="wine")]), Model())  # type: ignore[arg-type]
    verdicts = await both.judge([LiveItem(item_id="1", title="wine"), LiveItem(item_id="2", title="tea")])
    assert [verdict.flags for verdict in verdicts] == [("wine", "model"), ("model",)]


def load(tmp_path: Path, text: str) -> RuleClassifier:
    path = tmp_path / "rules.toml"
    path.write_text(text)
    return load_rules(NamedFile("AISLE_TEXT_RULES", path))


async def test_a_shops_own_list_takes_the_default_ones_place(tmp_path: Path) -> None:
    rules = load(tmp_path, '[[rule]]\nname = "alcohol"\npattern = "\\\\bwine\\\\b"\n')
    verdicts = await rules.judge([LiveItem(item_id="1", title="Wine"), LiveItem(item_id="2", title="Cigars")])
    assert [verdict.flags for verdict in verdicts] == [("alcohol",), ()]


async def test_an_empty_list_flags_nothing(tmp_path: Path) -> None:
    assert await load(tmp_path, "").judge([LiveItem(item_id="1", title="Cigars")]) == [Verdict()]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[rule]]\nname = "broken"\npattern = "(wine"', "rule 'broken': pattern: "),
        ('[[rule]]\nname = "far"\npattern = "x"\nfields = ["price"]', "rule 'far': fields.0: "),
        ('[[rule]]\nname = "far"\npattern = "x"\naction = "hide"', "rule 'far': action: "),
        ('[[rule]]\nname = "far"\npattern = "x"\npatern = "y"', "rule 'far': patern: "),
        ('[[rule]]\nname = "none"', "rule 'none': pattern: Field required"),
        ('[[rule]]\npattern = "x"', "rule 1: name: Field required"),
        ('[[rules]]\nname = "x"', r"holds something else than \[\[rule\]\] tables"),
        ('rule = "x"', r"holds something else than \[\[rule\]\] tables"),
        ("[[rule]", "rules.toml: "),
    ],
)
def test_a_list_that_cannot_be_used_is_refused_by_name(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=f"AISLE_TEXT_RULES: .*{words}"):
        load(tmp_path, text)


def test_a_list_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"AISLE_TEXT_RULES: .*gone\.toml cannot be read"):
        load_rules(NamedFile("AISLE_TEXT_RULES", tmp_path / "gone.toml"))
