"""API keys and their file."""

import hashlib
import hmac
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.common import keys as key_files
from services.common.keys import ApiKey, KeyFileError, add_key, find_key, read_keys


def entry(key: str, tenant: str = "default", name: str = "storefront") -> ApiKey:
    """A key's entry."""
    return ApiKey(tenant=tenant, sha256=hashlib.sha256(key.encode()).hexdigest(), name=name)


def test_a_new_key_is_found_by_its_hash_and_is_itself_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    first, second = add_key(path, "default", "storefront"), add_key(path, "books", "storefront")
    assert len(first) > 40
    assert first not in path.read_text()
    keys = read_keys(path)
    assert [(key.tenant, key.name) for key in keys] == [("default", "storefront"), ("books", "storefront")]
    assert (find_key(first, keys), find_key(second.encode(), keys)) == keys
    assert find_key(first[:-1], keys) is None
    assert find_key("", keys) is None


def test_every_entry_is_compared_however_soon_one_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def compare(presented: str, known: str) -> bool:
        compared.append(known)
        return presented == known

    monkeypatch.setattr(hmac, "compare_digest", compare)
    keys = [entry("a"), entry("b"), entry("c")]
    assert find_key("a", keys) == keys[0]
    assert compared == [key.sha256 for key in keys]


def test_only_the_owner_may_read_the_file_and_no_draft_is_left(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text('{"keys": []}')
    path.chmod(0o644)
    add_key(path, "default", "storefront")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link.json").symlink_to(tmp_path / "keys.json")
    add_key(tmp_path / "link.json", "default", "storefront")
    assert (tmp_path / "link.json").is_symlink()
    assert len(read_keys(tmp_path / "keys.json")) == 1


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys.json"
    add_key(path, "default", "storefront")
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        add_key(path, "default", "search")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_keys_added_at_once_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: add_key(path, "default", f"caller {number}"), range(20)))
    assert {key.name for key in read_keys(path)} == {f"caller {number}" for number in range(20)}


def test_a_name_is_given_once_per_tenant(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    add_key(path, "default", "storefront")
    with pytest.raises(KeyFileError, match="'default' has a key named 'storefront' already"):
        add_key(path, "default", "storefront")
    with pytest.raises(KeyFileError, match="tenant: String should have at most 128 characters"):
        add_key(path, "x" * 129, "storefront")


def written(tenant: str = "a", sha256: str = "ab" * 32, **others: int) -> str:
    """An entry as it is in the file."""
    return json.dumps({"tenant": tenant, "sha256": sha256, "name": "b", **others})


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "not JSON"),
        ("[]", "not JSON"),
        ("{}", "keys: Field required"),
        (f'{{"keys": [{written(sha256="00")}]}}', r"keys\.0\.sha256: String should match"),
        (f'{{"keys": [{written(tenant="")}]}}', r"keys\.0\.tenant: String should have at least 1"),
        (f'{{"keys": [{written(x=1)}]}}', r"keys\.0\.x: Extra"),
        (f'{{"keys": [{written()}, {written("c")}]}}', r"keys\.1: the same key as an earlier entry"),
    ],
)
def test_a_damaged_file_of_keys_is_refused_by_its_name_and_entry(tmp_path: Path, content: str, fault: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content)
    with pytest.raises(KeyFileError, match=f"{path}: {fault}") as caught:
        read_keys(path)
    assert "ab" * 32 not in str(caught.value)


def test_the_command_prints_the_key_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--tenant", "books", "--name", "storefront", "--file", str(tmp_path / "keys.json")]
    key_files.main(arguments)
    key = capsys.readouterr().out.strip()
    assert find_key(key, read_keys(tmp_path / "keys.json")) == entry(key, "books")
    with pytest.raises(SystemExit, match=r"keys: .*already"):
        key_files.main(arguments)
    assert json.loads((tmp_path / "keys.json").read_text())["keys"][0].keys() == {"tenant", "sha256", "name"}


def test_the_command_says_where_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"keys: .*nowhere cannot be opened \(No such file"):
        key_files.main(["--name", "storefront", "--file", str(tmp_path / "nowhere" / "keys.json")])
