"""The page of settings and metrics says what the code says."""

import re

from services.reference import metrics, page, settings
from tests.conftest import REPOSITORY_ROOT as ROOT

HINT = "run: python -m services.reference > services/REFERENCE.md"


def test_the_committed_page_is_the_one_that_the_code_makes() -> None:
    assert (ROOT / "services/REFERENCE.md").read_text() == page(), HINT


def test_every_setting_is_explained_and_no_metric_is_overlooked() -> None:
    assert [setting.variable for setting in settings() if not setting.meaning] == []
    made = {metric.name.removesuffix("_total") for metric in metrics()}
    sources = [path.read_text() for path in sorted((ROOT / "services").rglob("*.py"))]
    named = {name.removesuffix("_total") for text in sources for name in re.findall(r'"(aisle_[a-z_]+)"', text)}
    assert len(named) > 20
    assert named - made == set()
