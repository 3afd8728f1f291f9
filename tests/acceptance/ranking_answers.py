"""Line 1: the tests whose right answer is known by construction, and what must hold of every list of the default
bundle: each level of diversity makes lists less alike, nothing is shown twice, promotions have their share, and
explanations add up."""

import asyncio
import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path

import numpy as np

from tests.acceptance.ranking_lists import LEVELS, Found, ask_for_lists, open_shop
from tests.acceptance.ranking_stack import pinned_stack
from tests.acceptance.rows import Row, at_most, holds, told
from training.metrics import paired_bootstrap

TESTS = (
    *(f"tests/integration/test_known_{name}.py" for name in ("answers", "filters", "levels", "promotions")),
    "tests/integration/test_ranking_pages.py",
    *(f"tests/unit/test_{name}.py" for name in ("facets", "selecting", "diversity", "price", "promotions")),
    *(f"tests/unit/test_{name}.py" for name in ("exploration", "explain", "lists", "pages")),
)
SHOPPERS = 200
REPORT = Path("build/known-answers.xml")


def answers() -> list[Row]:
    """Line 1."""
    rows = _tests()
    with pinned_stack() as stack:
        found = asyncio.run(ask_for_lists(stack.addresses["ranking"], open_shop(Path("bundles")), SHOPPERS))
    return [*rows, *_diversity(found), *_lists(found)]


def _tests() -> list[Row]:
    """The tests by themselves, in a process of their own."""
    REPORT.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={REPORT}", *TESTS]
    subprocess.run(command, check=False)
    [suite] = ET.parse(REPORT).getroot().iter("testsuite")  # noqa: S314 - written by the line above
    counts = {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}
    return [
        told("known_answers_tests", counts["tests"]),
        at_most("known_answers_tests_not_passed", sum(counts.values()) - counts["tests"], 0),
        holds("known_answers_tests_ran", value=counts["tests"] > 0),
    ]


def _diversity(found: Found) -> list[Row]:
    columns = dict(zip(LEVELS, np.array(found.similarity).T, strict=True))
    rows = [told(f"similarity_of_twenty_{level}", round(float(values.mean()), 4)) for level, values in columns.items()]
    for less, more in pairwise(LEVELS):
        paired = paired_bootstrap(columns[less], columns[more], np.random.default_rng(0))
        low = paired.difference_interval[0]
        rows.append(Row(f"similarity_{less}_minus_{more}_lower_bound", round(low, 5), "> 0", low > 0))
    return rows


def _lists(found: Found) -> list[Row]:
    return [
        told("pages_walked", found.pages),
        at_most("items_repeated_on_pages", found.repeated_on_pages, 0),
        at_most("items_repeated_in_batches_of_every_placement", found.repeated_in_batches, 0),
        told("pages_with_promotions", found.promoted_pages),
        at_most("pages_where_a_promotion_has_not_exactly_its_share", found.wrong_shares, 0),
        at_most("items_promoted_that_should_not_be", found.wrongly_promoted, 0),
        told("explained_items", found.explained),
        at_most("items_of_the_ranker_without_explanation", found.unexplained, 0),
        at_most("explanations_largest_relative_error", float(f"{found.largest_error:.2g}"), 1e-4),
        told("degraded_replies", found.degraded),
    ]
