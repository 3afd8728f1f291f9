"""The page of a load test, the files beside it, and the command that writes them."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from loadtest import resampling
from loadtest.accepted import accept, accepted_run
from loadtest.gate import main, settle
from loadtest.recording import Mark, write_run
from tests.unit.load_calls import FACTS, Shop
from tests.unit.test_report import Page

GOOD, SLOW = Shop(seconds=30, per_second=40), Shop(seconds=30, per_second=40, slower_ms={"ranking": 20})
BRIEF = replace(FACTS, seconds=30.0, warm_up_seconds=5.0)
KILL = Mark(at_s=12, until_s=16, what="kill <triton>", recovered_s=1.5)


@pytest.fixture(scope="module", autouse=True)
def few_resamples() -> Iterator[None]:
    """A quarter of them: what is planted lies far beyond what they make the intervals wander."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resampling, "RESAMPLES", 250)
        yield


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a slow run that a good one was accepted before, and the folder of accepted runs."""
    root = tmp_path_factory.mktemp("loadtest")
    write_run(root / "good", GOOD.calls(0), BRIEF)
    accept(root / "good", settle(root / "good", accepted_root=root / "accepted"), None, root / "accepted")
    write_run(root / "slow", SLOW.calls(1), BRIEF, [KILL])
    settle(root / "slow", accepted_root=root / "accepted")
    return root


@pytest.fixture(scope="module")
def page(written: Path) -> str:
    return (written / "slow" / "report.html").read_text()


def test_the_verdict_stands_first_then_its_reason_then_where_to_look(page: str) -> None:
    words = Page(page).words
    places = [words.index(said) for said in ("Fail.", "at most 25 ms is asked for", "Where to look", "stage ranking")]
    assert places == sorted(places)
    assert places[0] < 120
    assert places[-1] < words.index("Findings")
    assert "The ranker: services/ranking/ordering" in words


def test_the_page_stands_alone_in_light_dark_and_print(page: str) -> None:
    elements = Page(page).tags
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in elements}
    assert not [found for _, found in elements if "src" in found]
    assert "@import" not in page
    assert "url(http" not in page
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    assert "#0" not in page.partition("</style>")[2].replace('href="#', "").replace("url(#", "")
    assert len(page.encode()) < 1_000_000


def test_every_tag_is_closed_and_every_reference_has_its_aim(page: str) -> None:
    read = Page(page)
    assert read.open == []
    assert len(read.ids) == len(set(read.ids))
    assert read.wanted_ids <= set(read.ids)


def test_faults_stand_on_every_chart_and_in_a_table_with_their_recovery(page: str) -> None:
    charts = page.count('role="img"')
    assert charts == 3
    assert page.partition('id="faults"')[0].count("kill &lt;triton&gt;") >= charts
    assert "kill <triton> 12.0 s 16.0 s 1.5 s" in Page(page).words
    assert "<triton>" not in page


def test_methods_and_stages_stand_beside_the_accepted_run(page: str) -> None:
    words = Page(page).words
    assert "small: the accepted run" in words
    assert "p50 over the accepted run's" in words
    for said in ("all calls", "Recommend/HOME", "WriteEvents", "outside", "candidates"):
        assert said in words


def test_a_generator_that_was_the_bottleneck_is_said_before_all_else(tmp_path: Path) -> None:
    write_run(tmp_path / "run", GOOD.calls(0), replace(BRIEF, generator_cpu_share=0.99))
    settle(tmp_path / "run", accepted_root=tmp_path / "accepted")
    page = (tmp_path / "run" / "report.html").read_text()
    assert Page(page).words.startswith("The generator is what was measured: the generator's share of a core was 99 %")
    assert 'class="banner"' in page
    assert "Invalid run." in page


def test_a_run_without_an_accepted_one_says_so(tmp_path: Path) -> None:
    write_run(tmp_path / "run", GOOD.calls(0), BRIEF)
    verdict = settle(tmp_path / "run", accepted_root=tmp_path / "accepted")
    assert verdict.outcome == "pass"
    assert "there was no accepted run to compare it with" in verdict.reason
    words = Page((tmp_path / "run" / "report.html").read_text()).words
    assert "no accepted run" in words
    assert "p50 over the accepted run's" not in words


def test_a_run_without_calls_has_a_page_too(tmp_path: Path) -> None:
    write_run(tmp_path / "run", GOOD.calls(0)[:0], BRIEF)
    assert settle(tmp_path / "run", accepted_root=tmp_path / "accepted").exit_code == 3
    assert "Invalid run." in (tmp_path / "run" / "report.html").read_text()


def test_the_verdict_is_written_for_machines(written: Path) -> None:
    found = json.loads((written / "slow" / "verdict.json").read_text())
    assert (found["outcome"], found["exit_code"]) == ("fail", 1)
    assert {cause["stage"] for cause in found["causes"]} == {"ranking"}
    assert found["findings"][0]["result"] == "failed"
    assert found["bundles"] == found["accepted_bundles"] == ["shop-w49"]
    grown = [one for one in found["ratios"] if (one["method"], one["stage"]) == ("Recommend", "ranking")]
    assert grown[0]["interval"][0] > 3


def test_the_summary_holds_every_method_and_stage_with_the_accepted_runs_figures(written: Path) -> None:
    with (written / "slow" / "summary.csv").open() as opened:
        rows = {(row["method"], row["stage"]): row for row in csv.DictReader(opened)}
    judged = SLOW.calls(1).filter(pl.col("due_s") >= 5, pl.col("method") == "WriteEvents").height
    assert int(rows["WriteEvents", ""]["calls"]) == judged
    slow = rows["Recommend/HOME", "ranking"]
    assert float(slow["p50_ms"]) > float(slow["accepted_p50_ms"]) + 15


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    write_run(tmp_path / "good", GOOD.calls(0), BRIEF)
    write_run(tmp_path / "slow", SLOW.calls(1), BRIEF)
    return tmp_path


def gate(folder: Path, *options: str) -> int:
    """Exit status of the command."""
    with pytest.raises(SystemExit) as raised:
        main([str(folder), "--accepted", str(folder.parent / "accepted"), *options])
    return int(raised.value.code or 0)


def test_the_command_says_verdict_cause_and_report(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gate(run_folder / "slow") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("FAIL: Recommend")
    assert any(line.startswith("cause: Recommend") and "stage ranking" in line for line in lines)
    assert lines[-1] == f"report: {run_folder / 'slow' / 'report.html'}"


def test_only_a_run_that_passes_is_accepted_but_for_a_reason(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = run_folder / "accepted"
    assert gate(run_folder / "slow", "--accept") == 1
    assert "not accepted: the verdict is fail" in capsys.readouterr().out
    assert accepted_run(BRIEF, root) is None
    assert gate(run_folder / "good", "--accept") == 0
    place = accepted_run(BRIEF, root)
    assert place == root / "local-smoke"
    assert pl.read_parquet(place / "calls.parquet").equals(GOOD.calls(0))
    assert gate(run_folder / "slow", "--override", "a heavier ranker is wanted") == 1
    assert pl.read_parquet(place / "calls.parquet").equals(SLOW.calls(1))
    assert json.loads((place / "accepted.json").read_text())["override"] == "a heavier ranker is wanted"
    assert [path.name for path in root.iterdir()] == ["local-smoke"]


def test_an_invalid_run_is_never_accepted(tmp_path: Path) -> None:
    write_run(tmp_path / "run", GOOD.calls(0), replace(BRIEF, generator_cpu_share=0.99))
    assert gate(tmp_path / "run", "--override", "please") == 3
    assert accepted_run(BRIEF, tmp_path / "accepted") is None


@pytest.mark.parametrize("environment", ["moon", "local"])
def test_a_wrong_environment_or_folder_is_wrong_usage(
    tmp_path: Path, environment: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "run", GOOD.calls(0), replace(BRIEF, environment=environment))
    missing = tmp_path / ("run" if environment == "moon" else "absent")
    assert gate(missing) == 2
    assert ("moon" if environment == "moon" else "absent") in capsys.readouterr().err
