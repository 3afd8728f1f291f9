"""What a page of comparisons says and refuses, and what counts as ahead."""

import importlib
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks.page import RunOfBench, page, times
from benchmarks.pairs import alternated, compared, compared_row
from benchmarks.rows import Row

AHEAD = Row(
    name="retrieval.24k",
    value=2.0,
    interval=(1.8, 2.2),
    bound="> 1",
    met=True,
    ours=1.0,
    theirs=2.0,
    unit="ms",
    rival="Other 1.0",
    method="Both asked the same.",
)
BEHIND = replace(AHEAD, name="triton.one", value=0.5, interval=(0.4, 0.6), met=False, reason="It crosses a process.")
RUN = RunOfBench(measured="2026-01-01T00:00:00+00:00", machine="2 cores", seconds={"retrieval": 3.0, "triton": 4.0})


def test_a_page_shows_every_row_how_it_was_measured_and_why_one_is_behind() -> None:
    text = page([AHEAD, BEHIND], RUN)
    assert "1 of 2 rows ahead" in text
    for row in (AHEAD, BEHIND):
        assert f"| {row.name} | {row.ours:g} | {row.theirs:g} |" in text
        assert f"**{row.name}**: {row.method}" in text
    assert f"**{BEHIND.name}** (0.5 [0.4, 0.6]): {BEHIND.reason}" in text


@pytest.mark.parametrize("reason", ["", "  "])
def test_a_row_that_is_not_ahead_and_gives_no_reason_makes_no_page(reason: str) -> None:
    with pytest.raises(ValueError, match=r"triton\.one: 0\.5 times Other 1\.0 is not ahead.*no reason"):
        page([AHEAD, replace(BEHIND, reason=reason)], RUN)


@pytest.mark.parametrize(
    ("value", "interval", "ahead"),
    [
        (1.2, (1.1, 1.3), True),
        (1.2, (0.9, 1.4), False),
        (1.2, None, True),
        (1.0, None, False),
        (0.9, (0.8, 1.1), False),
    ],
)
def test_ahead_is_beyond_chance(value: float, interval: tuple[float, float] | None, *, ahead: bool) -> None:
    row = replace(AHEAD, value=value, interval=interval)
    assert row.ahead is ahead
    assert times(row).startswith("**") is ahead


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([], "no rows"),
        ([AHEAD, AHEAD], r"retrieval\.24k: stands twice"),
        ([replace(AHEAD, method=" ")], r"retrieval\.24k: method and rival"),
        ([replace(AHEAD, rival="")], r"retrieval\.24k: method and rival"),
    ],
)
def test_a_page_that_would_mislead_is_refused(rows: list[Row], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        page(rows, RUN)


def test_sides_take_turns_and_none_is_always_the_first() -> None:
    order: list[str] = []

    def side(name: str) -> float:
        order.append(name)
        return float(len(order))

    found = alternated({"a": lambda: side("a"), "b": lambda: side("b")}, rounds=3, warm_up_rounds=1)
    assert order == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert found == {"a": [4.0, 5.0, 8.0], "b": [3.0, 6.0, 7.0]}


def test_the_ratio_is_taken_within_rounds_so_that_a_slow_spell_hits_both_sides() -> None:
    machine = np.array([1.0, 1.0, 9.0, 9.0, 1.0, 3.0, 1.0])
    result = compared((2.0 * machine).tolist(), (3.0 * machine).tolist())
    assert result.ratio == pytest.approx(1.5)
    assert result.interval == pytest.approx((1.5, 1.5))
    assert (result.ours, result.theirs) == (2.0, 3.0)
    assert compared([1.0, 10.0, 100.0], [30.0, 20.0, 110.0]).ratio == pytest.approx(2.0)


def test_more_of_what_is_counted_a_second_is_better_where_told() -> None:
    assert compared([200.0], [100.0], more_is_better=True).ratio == pytest.approx(2.0)
    assert compared([200.0], [100.0]).ratio == pytest.approx(0.5)


def test_rounds_that_vary_have_an_interval_that_reaches_both_ways() -> None:
    rng = np.random.default_rng(2)
    result = compared(rng.gamma(50.0, 0.02, 30).tolist(), rng.gamma(50.0, 0.02, 30).tolist())
    low, high = result.interval
    assert low < result.ratio < high
    assert low < 1.0 < high


@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1.0], [1.0, 2.0])])
def test_rounds_that_do_not_match_are_refused(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(ValueError, match="rounds"):
        compared(ours, theirs)


def test_a_reason_is_kept_only_in_a_row_that_is_not_ahead() -> None:
    row = partial(compared_row, "a.b", unit="ms", rival="Other", method="Asked.", behind="It is.")
    fast, slow = (row(compared([ours], [1.0])) for ours in (0.5, 2.0))
    assert (fast.reason, slow.reason) == ("", "It is.")
    assert (fast.met, slow.met) == (True, False)
    promised = row(compared([0.5], [1.0]), least=3.0)
    assert (promised.bound, promised.met, promised.ahead) == (">= 3", False, True)


def test_the_command_measures_the_chosen_groups_in_processes_and_writes_both_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def in_a_process(group: str) -> list[Row]:
        asked.append(group)
        return [replace(AHEAD, name=f"{group}.one")]

    monkeypatch.setattr(command, "_in_a_process", in_a_process)
    out = tmp_path / "deep" / "bench.json"
    assert command.main(["--only", "ret", "--out", str(out)]) == 0
    assert asked == ["retrieval"]
    written = json.loads(out.read_text())
    assert [row["name"] for row in written["rows"]] == ["retrieval.one"]
    assert written["seconds"].keys() == {"retrieval"}
    assert "retrieval.one" in out.with_suffix(".md").read_text()
    assert "retrieval.one: 1 to 2 ms" in capsys.readouterr().out


def test_a_row_without_a_reason_makes_the_command_fail_but_its_figures_are_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_in_a_process", lambda _: [replace(BEHIND, reason="")])
    out = tmp_path / "bench.json"
    assert command.main(["--only", "triton", "--out", str(out)]) == 1
    assert "no reason" in capsys.readouterr().err
    assert json.loads(out.read_text())["rows"][0]["value"] == BEHIND.value
    assert not out.with_suffix(".md").exists()


def test_a_group_that_does_not_exist_is_wrong_usage() -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--only", "nothing"])
    assert ended.value.code == 2


def test_every_group_has_a_module_whose_rows_it_calls() -> None:
    modules = [importlib.import_module(f"benchmarks.{name}") for name in command.GROUPS]
    assert len(modules) > 1
    assert all(callable(module.rows) for module in modules)
