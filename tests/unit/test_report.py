"""The page of an evaluation: says first what was found, holds nothing from outside, hides nothing."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.unit.judged_shop import judged_shop
from training.judgement import Judgement
from training.report import RunFacts, render, report_of, write_report

RUN = RunFacts(
    data="corner-shop",
    synthetic=False,
    bundle="corner-shop-w49",
    method="Time split: all before 4 December was known.",
    window="4 weeks from 4 December",
    shopper_count=80,
    item_count=30,
    seed=0,
    verb="bought",
    baselines={"strong": {"all": {"l2": 300.0, "max_items": 8000}, "new": {"l2": 100.0}}},
    budget="12 settings each.",
    seconds={"towers": 61.5, "ranker": 20.0},
    curves={"interest tower": [(0, 2.5), (100, 1.5)]},
)
VOID = {"meta", "line", "rect", "path", "use", "br", "link"}


class Page(HTMLParser):
    """A page taken apart; fails on a tag that closes another than the last one opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.wanted_ids: set[str] = set()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        self.ids += [value for key, value in attrs if key == "id" and value]
        self.wanted_ids |= set((found.get("aria-labelledby") or "").split())
        self.wanted_ids |= {value[1:] for key, value in attrs if key.endswith("href") and value and value[0] == "#"}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"style", "title", "desc"}:
            self.text += " " + data

    @property
    def words(self) -> str:
        """What is read, spaces made plain."""
        return " ".join(self.text.split())


@pytest.fixture(scope="module")
def judged() -> Judgement:
    return judged_shop()


@pytest.fixture(scope="module")
def report(judged: Judgement) -> dict[str, Any]:
    return report_of(RUN, judged)


@pytest.fixture(scope="module")
def page(report: dict[str, Any]) -> str:
    return render(report)


def test_the_verdict_stands_first_in_plain_words(page: str) -> None:
    words = Page(page).words
    assert words.startswith(
        "Evaluation of corner-shop-w49 on corner-shop Aisle finds 100.0 % more of what shoppers bought"
    )
    assert "next than the best simple method. 95 % sure: 100.0 % to 100.0 %; best simple method: strong." in words
    assert "of what shoppers bought for the first time" in words


def test_the_page_stands_alone_and_is_small(page: str) -> None:
    elements = Page(page).tags
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in elements}
    assert not [found for _, found in elements if "src" in found]
    assert not [
        found for _, found in elements for key in found if key == "href" and not str(found[key]).startswith("#")
    ]
    assert "@import" not in page
    assert "url(http" not in page
    assert len(page.encode()) < 1_000_000


def test_every_tag_is_closed_every_id_is_its_own_and_every_reference_has_its_aim(page: str) -> None:
    read = Page(page)
    assert read.open == []
    assert len(read.ids) == len(set(read.ids))
    assert read.wanted_ids <= set(read.ids)


def test_every_chart_says_what_it_shows_to_those_who_cannot_see_it(page: str) -> None:
    elements = Page(page).tags
    charts = [found for tag, found in elements if tag == "svg"]
    described = [found for found in charts if found.get("role") == "img" and found.get("aria-labelledby")]
    assert len(described) == 6
    assert all(found.get("aria-hidden") == "true" for found in charts if found not in described)
    assert ">Aisle 100.0\u00a0%; strong 50.0\u00a0%; weak 0.0\u00a0%</desc>" in page


def test_charts_wear_the_pages_colours_in_light_dark_and_print(page: str) -> None:
    drawings = page.partition("</style>")[2]
    assert "#0" not in drawings.replace('href="#', "").replace("url(#", "")
    assert "fill: var(--ours)" in drawings
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_every_system_metric_group_and_setting_is_told(page: str) -> None:
    words = Page(page).words
    for said in ("strong", "weak", "Recall@10", "NDCG@20", "MRR@20", "Long tail", "Diversity", "Miscalibration"):
        assert said in words
    assert "l2 300, max items 8000" in words
    assert "12 settings each." in words
    assert "towers" in words
    assert "no negatives are sampled" in words


def test_a_group_too_small_to_judge_is_told_with_its_number(page: str) -> None:
    assert "few 20 100.0 % 50.0 % too few shoppers to judge" in Page(page).words


def test_synthetic_data_is_announced_in_red_and_real_data_is_not(report: dict[str, Any], page: str) -> None:
    made_up = render(report | {"run": report["run"] | {"synthetic": True}})
    assert 'class="banner"' in made_up
    assert Page(made_up).words.startswith("Synthetic data: every shopper")
    assert 'class="banner"' not in page


def test_names_that_a_shop_chose_cannot_break_the_page(judged: Judgement) -> None:
    text = json.dumps(report_of(replace(RUN, data="<script>alert(1)</script>"), judged))
    hostile = json.loads(text.replace("first ten", "<b> & $x{$ 'co' </b>"))
    read = Page(render(hostile))
    assert read.open == []
    assert not {"script", "b"} & {tag for tag, _ in read.tags}
    assert "<b> & $x{$ 'co' </b>" in read.text


def test_parts_that_an_evaluation_lacks_are_left_out(judged: Judgement) -> None:
    bare = render(report_of(replace(RUN, seconds={}, curves={}), judged))
    assert ">Training<" not in bare
    lonely = json.loads(json.dumps(report_of(RUN, judged)))
    for task, details in lonely["details"].items():
        details |= {
            "best": None,
            "against_best": {},
            "exposure": {"brands": None, "categories": None, "flagged_wanted": None},
        }
        for system in lonely["tasks"][task].values():
            system |= {"recall@20": None, "recall@20_interval": None}
    words = Page(render(lonely)).words
    assert "Aisle cannot be compared on what shoppers bought next. There is no baseline to compare with." in words
    assert "does not say which of its items are sensitive" in words
    assert "Group by group" not in words


def test_the_files_lie_beside_each_other_and_the_page_is_drawn_from_the_json_alone(
    report: dict[str, Any], judged: Judgement, page: str, tmp_path: Path
) -> None:
    written = write_report(tmp_path / "new" / "evaluation.json", report, judged)
    assert [path.name for path in written] == ["evaluation.json", "evaluation.html", "evaluation.parquet"]
    assert written[1].read_text() == page
    assert json.loads(written[0].read_text()) == report
    assert pl.read_parquet(written[2]).equals(judged.shoppers)
