"""Faults are read or refused by the word that is wrong, done at their times, and undone whatever happens."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from loadtest.faults import Fault, FaultError, carry_out, check_faults, parse_fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("kill:triton@20+8", Fault("kill", "triton", 20.0, 8.0)),
        ("stall:valkey@40.5+.5", None),
        ("stall:valkey@40.5+0.5", Fault("stall", "valkey", 40.5, 0.5)),
        ("kill:ranking-worker@30", Fault("kill", "ranking-worker", 30.0, None)),
        ("swap:bundle@60", Fault("swap", "bundle", 60.0, None)),
    ],
)
def test_a_fault_is_what_is_written(text: str, fault: Fault | None) -> None:
    if fault is None:
        with pytest.raises(FaultError):
            parse_fault(text)
    else:
        assert parse_fault(text) == fault
        assert str(fault) == text


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("kill:triton", "write kind:part@seconds"),
        ("", "write kind:part@seconds"),
        ("murder:triton@3", "'murder' is none of kill, stall, swap"),
        ("kill:tritn@3", "'tritn' is none of triton, valkey"),
        ("swap:triton@3", "'triton' is none of bundle"),
        ("kill:triton@soon", "'soon' is no number of seconds"),
        ("kill:triton@20+8s", "'8s' is no number of seconds"),
        ("kill:triton@-1", "'-1' is no number of seconds"),
        ("kill:triton@nan", "'nan' is no number of seconds"),
        ("kill:triton@20+0", r"'\+0' is no time at all"),
        ("stall:valkey@40", "say how long"),
        ("kill:ranking-worker@30+8", r"leave out '\+8'"),
    ],
)
def test_what_cannot_be_understood_is_refused_by_the_word(text: str, named: str) -> None:
    with pytest.raises(FaultError, match=named) as error:
        parse_fault(text)
    assert repr(text) in str(error.value)


@dataclass
class Stage:
    """A deployment on which nothing but the order of things matters, and a clock that moves when it is looked at."""

    seconds: Callable[[], float] = field(default_factory=lambda: itertools.count(0.0, 0.5).__next__)
    done: list[str] = field(default_factory=list)
    broken: str = ""

    def check(self, fault: Fault) -> None:
        if fault.part == "retrieval":
            raise FaultError(f"fault {str(fault)!r}: no retrieval here")

    def do(self, fault: Fault) -> None:
        self.done.append(f"do {fault}")
        if str(fault) == self.broken:
            raise TimeoutError("it did not end")

    def undo(self, fault: Fault) -> None:
        self.done.append(f"undo {fault}")

    def mend(self, fault: Fault) -> None:
        self.done.append(f"mend {fault}")


def faults_of(*texts: str) -> list[Fault]:
    return [parse_fault(text) for text in texts]


@pytest.mark.parametrize(
    ("texts", "named"),
    [
        (["kill:triton@20+8", "stall:triton@27+1"], "'kill:triton@20[+]8' is not over by then"),
        (["kill:triton@20", "stall:triton@27+1"], "'kill:triton@20' is not over by then"),
        (["stall:ranking@20+8", "kill:ranking-worker@27"], "'stall:ranking@20[+]8' is not over by then"),
        (["kill:valkey@60+1"], "'kill:valkey@60[+]1': the run is over after 60 seconds"),
        (["kill:retrieval@6+1"], "no retrieval here"),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_run(texts: Sequence[str], named: str) -> None:
    with pytest.raises(FaultError, match=named):
        check_faults(faults_of(*texts), 60.0, Stage())


def test_faults_that_do_not_meet_are_let_through() -> None:
    texts = [
        "kill:ranking-worker@5",
        "kill:ranking-worker@25",
        "kill:triton@20+8",
        "stall:triton@28+1",
        "kill:valkey@21+1",
    ]
    check_faults(faults_of(*texts), 60.0, Stage())


def test_a_deployment_of_which_nothing_is_known_takes_no_faults() -> None:
    check_faults([], 60.0, None)
    with pytest.raises(FaultError, match="nothing is known of the target's processes"):
        check_faults(faults_of("kill:triton@1"), 60.0, None)


def test_all_is_done_in_time_and_marked() -> None:
    stage, over = Stage(), iter([*[False] * 10_000])
    planned = faults_of("stall:valkey@12+4", "kill:triton@10+8", "kill:ranking-worker@14")
    marks = carry_out(planned, stage, stage.seconds, lambda: next(over))
    assert stage.done == [
        "do kill:triton@10+8",
        "do stall:valkey@12+4",
        "do kill:ranking-worker@14",
        "undo stall:valkey@12+4",
        "undo kill:triton@10+8",
    ]
    found = {mark.what: mark for mark in marks}
    assert set(found) == {"kill triton", "stall valkey", "kill ranking-worker"}
    assert found["kill triton"].at_s == pytest.approx(10, abs=2)
    assert found["kill triton"].until_s == pytest.approx(18, abs=3)


def test_what_has_no_end_is_mended_when_the_run_is_over() -> None:
    stage = Stage()
    over = iter([*[False] * 20, *[True] * 100])
    marks = carry_out(faults_of("swap:bundle@1", "kill:triton@2"), stage, stage.seconds, lambda: next(over))
    assert stage.done == ["do swap:bundle@1", "do kill:triton@2", "mend swap:bundle@1", "mend kill:triton@2"]
    swap, kill = marks
    assert swap.at_s == swap.until_s
    assert kill.until_s > kill.at_s


def test_a_run_that_ends_early_leaves_out_what_has_not_begun() -> None:
    stage = Stage()
    over = iter([*[False] * 5, *[True] * 100])
    marks = carry_out(faults_of("stall:triton@1+500", "kill:valkey@400"), stage, stage.seconds, lambda: next(over))
    assert stage.done == ["do stall:triton@1+500", "mend stall:triton@1+500"]
    assert [mark.what for mark in marks] == ["stall triton"]


def test_whatever_fails_the_rest_is_mended() -> None:
    stage = Stage(broken="kill:triton@2+3")
    with pytest.raises(TimeoutError):
        carry_out(faults_of("stall:valkey@1+9", "kill:triton@2+3"), stage, stage.seconds, lambda: False)
    assert stage.done[2:] == ["mend stall:valkey@1+9", "mend kill:triton@2+3"]
