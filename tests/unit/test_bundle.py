"""A bundle opens only if it is whole and unaltered; the pointer to the serving one moves at once or not at all."""

import json
import os
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features import bundle, spec
from features.bundle import (
    FILES,
    MANIFEST,
    BundleError,
    forget_old_bundles,
    open_bundle,
    promote,
    serving_path,
    write_bundle,
)

AS_OF = datetime(2017, 12, 4, 5, tzinfo=UTC)
NOW = datetime(2024, 5, 6, 7, 8, 9, tzinfo=timezone(timedelta(hours=2)))
REPORT = "report/index.html"
FACTS = {"as_of": AS_OF.isoformat(), "metrics": {"recall@20": 0.31, "interval": (0.3, 0.32)}, "weeks": {9: 1, 10: 2}}
WRITTEN = tuple(name for name in FILES if name != bundle.FEATURE_SPEC)


def fill(root: Path, names: tuple[str, ...] = WRITTEN) -> None:
    """Files with a few bytes each, none of them text."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(bytes([0, 255, number]) * 5)


def write(bundles: Path, version: str) -> Path:
    """A whole bundle with a report; its directory."""
    with write_bundle(bundles, version, FACTS) as root:
        fill(root, (*WRITTEN, REPORT))
    return bundles / version


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path, "week-49")


def test_what_was_written_opens_with_its_facts(root: Path) -> None:
    opened = open_bundle(root)
    assert opened.version == "week-49"
    assert opened.as_of == AS_OF
    assert opened.manifest["metrics"] == {"recall@20": 0.31, "interval": [0.3, 0.32]}
    assert opened.manifest["feature_fingerprint"] == spec.fingerprint()
    assert set(opened.manifest["sha256"]) == {*FILES, REPORT}
    for name in (*FILES, REPORT):
        assert opened.path(name) == root / name
    columns = json.loads(opened.path(bundle.FEATURE_SPEC).read_text())
    assert columns == {"matrix_columns": list(spec.MATRIX_COLUMNS), "fingerprint": spec.fingerprint()}


@pytest.mark.parametrize("name", ["other.bin", MANIFEST, "../week-49/ranker.txt"])
def test_a_file_that_the_manifest_does_not_list_cannot_be_asked_for(root: Path, name: str) -> None:
    with pytest.raises(BundleError, match=r"not in the bundle's manifest"):
        open_bundle(root).path(name)


@pytest.mark.parametrize("name", [*FILES, REPORT, MANIFEST])
def test_one_flipped_byte_in_any_file_is_refused_by_that_files_name(root: Path, name: str) -> None:
    content = bytearray((root / name).read_bytes())
    content[len(content) // 2] ^= 1
    (root / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"^{root / name}: "):
        open_bundle(root)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
def test_the_manifest_notices_any_change_of_any_of_its_own_bytes(root: Path, place: float, mask: int) -> None:
    path = root / MANIFEST
    written = path.read_bytes()
    altered = bytearray(written)
    altered[int(place * len(written))] ^= mask
    path.write_bytes(altered)
    try:
        with pytest.raises(BundleError, match=f"^{path}: "):
            open_bundle(root)
    finally:
        path.write_bytes(written)


def test_even_another_line_end_is_noticed(root: Path) -> None:
    written = (root / MANIFEST).read_bytes()
    (root / MANIFEST).write_bytes(written.replace(b"\n", b"\r", 1))
    with pytest.raises(BundleError, match="differs from what was written"):
        open_bundle(root)


@pytest.mark.parametrize("name", [*FILES, REPORT])
def test_a_missing_file_is_named(root: Path, name: str) -> None:
    (root / name).unlink()
    with pytest.raises(BundleError, match=f"^{root / name}: missing"):
        open_bundle(root)


@pytest.mark.parametrize("name", ["ranker.old.txt", "text_tower/extra.bin", "text_tower/manifest.json"])
def test_a_file_too_many_is_named(root: Path, name: str) -> None:
    (root / name).write_text("left over")
    with pytest.raises(BundleError, match=f"^{root / name}: not in the manifest"):
        open_bundle(root)


def test_a_directory_without_a_manifest_is_not_a_bundle(root: Path) -> None:
    (root / MANIFEST).unlink()
    with pytest.raises(BundleError, match=r"manifest.json: missing; not a bundle"):
        open_bundle(root)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda facts: {**facts, "format": 2}, "format 2, this reader understands 1"),
        (lambda facts: {**facts, "as_of": "2018-01-01T00:00:00+00:00"}, "differs from what was written"),
        (lambda facts: {name: value for name, value in facts.items() if name != "as_of"}, "lacks one of as_of"),
        (lambda facts: [facts], "lacks one of"),
    ],
)
def test_a_manifest_rewritten_by_hand_is_refused(
    root: Path, change: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    facts = json.loads((root / MANIFEST).read_text())
    (root / MANIFEST).write_text(json.dumps(change(facts), indent=2, sort_keys=True) + "\n")
    with pytest.raises(BundleError, match=complaint):
        open_bundle(root)


def test_a_bundle_made_with_other_feature_definitions_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_with = spec.fingerprint()
    monkeypatch.setattr(spec, "HALF_LIFE_DAYS", 42.0)
    with pytest.raises(BundleError, match=f"made with feature definitions {made_with}, this code has"):
        open_bundle(root)


def test_writing_that_breaks_off_leaves_no_bundle_and_no_draft(tmp_path: Path) -> None:
    def break_off() -> None:
        with write_bundle(tmp_path, "week-49", FACTS) as draft:
            fill(draft)
            assert not (tmp_path / "week-49").exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_writer_leaves_behind_is_no_bundle(tmp_path: Path) -> None:
    with write_bundle(tmp_path, "week-49", FACTS) as draft:
        fill(draft)
        left_behind = shutil.copytree(draft, tmp_path / "left-behind")
    with pytest.raises(BundleError, match=r"manifest.json: missing"):
        open_bundle(left_behind)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_file_that_was_not_written_is_named_and_nothing_is_left(tmp_path: Path, name: str) -> None:
    def write_incompletely() -> None:
        with write_bundle(tmp_path, "week-49", FACTS) as draft:
            fill(draft, tuple(other for other in WRITTEN if other != name))

    with pytest.raises(BundleError, match=f"{tmp_path / 'week-49' / name}: was not written"):
        write_incompletely()
    assert list(tmp_path.iterdir()) == []


def test_a_version_is_never_overwritten(root: Path) -> None:
    before = (root / MANIFEST).read_bytes()
    with pytest.raises(BundleError, match="exists already"), write_bundle(root.parent, "week-49", FACTS):
        pytest.fail("the writer was let in")
    assert (root / MANIFEST).read_bytes() == before
    assert open_bundle(root).version == "week-49"


@pytest.mark.parametrize("version", ["", ".hidden", "../elsewhere", "a/b", "serving", "serving.log", "week 49"])
def test_a_name_that_is_not_one_is_refused(tmp_path: Path, version: str) -> None:
    with pytest.raises(BundleError, match="cannot be a version"), write_bundle(tmp_path / "in", version, FACTS):
        pytest.fail("the writer was let in")
    assert list(tmp_path.iterdir()) == []


def log_of(bundles: Path) -> list[dict[str, Any]]:
    """What the log says of every move."""
    return [json.loads(line) for line in (bundles / "serving.log").read_text().splitlines()]


def test_promoting_and_rolling_back_move_the_pointer_and_are_logged(root: Path) -> None:
    bundles = root.parent
    write(bundles, "week-50")
    for version, reason in (("week-49", "first"), ("week-50", "better"), ("week-49", "rolled back: complaints")):
        promote(bundles, version, reason, NOW)
        assert serving_path(bundles) == bundles / version
    assert log_of(bundles) == [
        {"at": "2024-05-06T05:08:09+00:00", "from": None, "to": "week-49", "reason": "first"},
        {"at": "2024-05-06T05:08:09+00:00", "from": "week-49", "to": "week-50", "reason": "better"},
        {"at": "2024-05-06T05:08:09+00:00", "from": "week-50", "to": "week-49", "reason": "rolled back: complaints"},
    ]
    assert sorted(path.name for path in bundles.iterdir()) == ["serving", "serving.log", "week-49", "week-50"]


def test_a_bundle_that_does_not_open_is_not_promoted(root: Path) -> None:
    bundles = root.parent
    promote(bundles, "week-49", "first", NOW)
    (write(bundles, "week-50") / bundle.RANKER).write_text("altered")
    with pytest.raises(BundleError, match=r"week-50/ranker\.txt: sha256 differs"):
        promote(bundles, "week-50", "better", NOW)
    assert serving_path(bundles) == root
    assert len(log_of(bundles)) == 1


def test_a_promotion_that_is_killed_before_its_last_step_has_changed_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundles = root.parent
    write(bundles, "week-50")
    promote(bundles, "week-49", "first", NOW)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        promote(bundles, "week-50", "better", NOW)
    assert serving_path(bundles) == root
    assert len(log_of(bundles)) == 1


def test_whoever_reads_the_pointer_while_it_moves_sees_the_old_or_the_new_version(root: Path) -> None:
    bundles = root.parent
    versions = {root, write(bundles, "week-50")}
    promote(bundles, "week-49", "first", NOW)
    stop, seen = threading.Event(), set()

    def read() -> None:
        while not stop.is_set():
            try:
                seen.add(serving_path(bundles))
            except BundleError as error:
                seen.add(Path(str(error)))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(100):
        promote(bundles, ("week-50", "week-49")[number % 2], "to and fro", NOW)
    stop.set()
    reader.join()
    assert seen <= versions


def test_old_bundles_go_but_for_the_one_that_serves_and_the_one_before_it(tmp_path: Path) -> None:
    versions = [write(tmp_path, f"night-{number}").name for number in range(6)]
    for age, version in enumerate(reversed(versions)):
        os.utime(tmp_path / version / MANIFEST, (1e9 - age, 1e9 - age))
    for version in ("night-0", "night-1"):
        promote(tmp_path, version, "test", NOW)
    (tmp_path / ".draft").mkdir()
    assert forget_old_bundles(tmp_path, 2) == ["night-3", "night-2"]
    left = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert left == [".draft", "night-0", "night-1", "night-4", "night-5"]
    assert forget_old_bundles(tmp_path, 2) == []


def test_where_nothing_has_been_promoted_the_newest_bundles_stay(tmp_path: Path) -> None:
    write(tmp_path, "only")
    assert forget_old_bundles(tmp_path, 1) == []
    assert forget_old_bundles(tmp_path / "nothing", 1) == []


def test_a_pointer_that_is_missing_or_points_nowhere_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="serving: no bundle has been promoted yet"):
        serving_path(tmp_path)
    (tmp_path / "serving").write_text("week-12\n")
    with pytest.raises(BundleError, match="names 'week-12', which is not there"):
        serving_path(tmp_path)
