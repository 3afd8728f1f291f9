"""The list of who is left out: opting out, opting in again, being forgotten; by keyed hash only."""

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from features.left_out import NewlyLeftOut, leave_out, leave_out_until, named, read_left_out
from features.schema import SchemaError
from features.shopper_digest import KEY_FILE_VARIABLE, audit_key, open_digest, shopper_digest

NOW = datetime(2026, 5, 1, tzinfo=UTC)
KEY = b"sixteen bytes it"


def listed(live: Path) -> dict[str, datetime | None]:
    return dict(read_left_out(live).iter_rows())


def test_who_opts_in_again_is_left_out_up_to_then_and_a_purge_keeps_an_opt_out(tmp_path: Path) -> None:
    leave_out(tmp_path, ["ada", "ben"])
    leave_out(tmp_path, ["ada"])
    assert listed(tmp_path) == {"ada": None, "ben": None}
    leave_out_until(tmp_path, ["ada"], NOW, keep_opted_out=False)
    leave_out_until(tmp_path, ["ben", "eve"], NOW, keep_opted_out=True)
    assert listed(tmp_path) == {"ada": NOW, "ben": None, "eve": NOW}
    leave_out_until(tmp_path, ["eve"], NOW + timedelta(days=1), keep_opted_out=True)
    leave_out(tmp_path, ["ada"])
    assert listed(tmp_path) == {"ada": None, "ben": None, "eve": NOW + timedelta(days=1)}


def test_a_job_is_told_who_came_into_the_list_or_into_it_again_since_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_FILE_VARIABLE, raising=False)
    newly, names = NewlyLeftOut(tmp_path / "live"), ["ada", "ben", "eve"]
    assert newly.among(names) == []
    assert list(tmp_path.iterdir()) == [], "looking makes neither a folder nor a key"
    digest = open_digest(tmp_path / "live", None)
    leave_out_until(tmp_path / "live", [digest("ada"), digest("ben")], NOW, keep_opted_out=True)
    assert NewlyLeftOut(tmp_path / "live").among(names) == []
    assert newly.among(["ben", "eve"]) == ["ben"]
    leave_out_until(tmp_path / "live", [digest("ada")], NOW + timedelta(days=1), keep_opted_out=True)
    assert newly.among(names) == ["ada"], "forgotten once more"
    leave_out(tmp_path / "live", [digest("eve")])
    assert newly.among(names) == ["eve"]
    assert newly.among(names) == []


def test_ids_are_found_in_the_list_by_their_hash_only(tmp_path: Path) -> None:
    digest = partial(shopper_digest, KEY)
    leave_out(tmp_path, [digest("ada")])
    assert named(read_left_out(tmp_path), ["ben", "ada"], digest)["user_id"].to_list() == ["ada"]
    assert named(read_left_out(tmp_path), ["ben", "ada"], partial(shopper_digest, KEY * 2)).is_empty()
    assert named(read_left_out(tmp_path / "none"), ["ada"], digest).is_empty()
    [path] = list(tmp_path.rglob("*.parquet"))
    assert "ada" not in pl.read_parquet(path).write_json()


def test_a_list_that_is_no_list_is_an_error_that_names_it(tmp_path: Path) -> None:
    leave_out(tmp_path, ["ada"])
    [path] = list(tmp_path.rglob("*.parquet"))
    pl.DataFrame({"user_id": ["ada"]}).write_parquet(path)
    with pytest.raises(SchemaError, match=r"shoppers\.parquet: found"):
        read_left_out(tmp_path)


def test_a_key_is_made_once_for_its_owner_only_and_a_configured_one_comes_first(tmp_path: Path) -> None:
    live, configured = tmp_path / "live", tmp_path / "key"
    key = audit_key(live, None)
    assert audit_key(live, None) == key
    assert (live / "audit.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in live.iterdir()] == ["audit.key"]
    configured.write_bytes(KEY)
    assert open_digest(live, configured)("ada") == shopper_digest(KEY, "ada") != shopper_digest(key, "ada")
    configured.write_bytes(b"short")
    with pytest.raises(ValueError, match="5 bytes"):
        audit_key(live, configured)
