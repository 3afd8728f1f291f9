"""Files that change while they are in use."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from services.common.reloading import Reloaded
from services.common.settings import SettingsError


def reading(path: Path) -> Callable[[], str]:
    """A loader that does not take "bad"."""

    def load() -> str:
        if (text := path.read_text()) == "bad":
            raise SettingsError(f"{path} is bad")
        return text

    return load


def test_a_file_is_read_again_when_it_has_changed_and_then_only(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    reloaded = Reloaded([path], reading(path))
    assert (reloaded.changed(), reloaded.current()) == (None, "one")
    path.write_text("second")
    assert (reloaded.changed(), reloaded.changed(), reloaded.current()) == ("second", None, "second")


def test_a_file_that_turns_bad_leaves_the_value_that_was_good_and_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    reloaded = Reloaded([path], reading(path))
    path.write_text("bad")
    with caplog.at_level(logging.ERROR):
        assert [reloaded.current() for _ in range(3)] == ["one"] * 3
    assert [record.__dict__["reason"] for record in caplog.records] == [f"{path} is bad"]
    path.write_text("third")
    assert reloaded.current() == "third"


def test_a_file_that_is_bad_from_the_start_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("bad")
    with pytest.raises(SettingsError, match="is bad"):
        Reloaded([tmp_path / "a"], reading(tmp_path / "a"))
