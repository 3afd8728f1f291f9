"""Materialising: shoppers as of the bundle, items as they stand in it, both on disk first and then online."""

import sys
import types
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import features
from features import bundle as files
from features import materialise, spec
from features.bundle import Bundle, open_bundle, promote, write_bundle
from features.left_out import NewlyLeftOut, leave_out, leave_out_until
from features.materialise import materialise_bundle, user_rows
from features.offline import offline_folder, write_offline
from features.schema import Dataset
from features.shopper_digest import KEY_FILE_VARIABLE, open_digest
from features.transforms import item_features, known_events
from tests.shop import dataset, day, event, events, item, items

AS_OF = day(50)
CATALOGUE = items(item("OAT-MILK", "Dairy"), item("RYE-BREAD", "Bakery"))
DATA = dataset(
    events(
        event("household-7", "OAT-MILK", 10),
        event("household-7", "RARE-TEA", 11),
        event("household-1", "RYE-BREAD", 49),
        event("household-2", "RYE-BREAD", 50),
    ),
    items(item("OAT-MILK", "Dairy"), item("RARE-TEA"), item("RYE-BREAD", "Bakery")),
)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A promoted bundle that serves two of the shop's three items."""
    with write_bundle(tmp_path / "bundles", "week-8", {"as_of": AS_OF.isoformat()}) as root:
        for name in files.FILES:
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text("not read here")
        CATALOGUE.write_parquet(root / files.ITEMS)
        known = known_events(DATA.events, AS_OF)
        item_features(known, CATALOGUE, DATA.promotions, AS_OF).write_parquet(root / files.ITEM_COLUMNS)
    promote(tmp_path / "bundles", "week-8", "a test", AS_OF)
    return open_bundle(tmp_path / "bundles" / "week-8")


class FakeStore(types.ModuleType):
    """`features.store` without Feast: files as ever, and whatever would go online kept here."""

    write_offline = staticmethod(write_offline)

    def __init__(self) -> None:
        super().__init__("features.store")
        self.meanwhile: list[Callable[[], object]] = []
        """What others do when this is asked next, one after the other."""
        self.taken_back: list[tuple[object, list[str]]] = []
        self.opened: list[tuple[Path, Path, str]] = []
        self.online: list[tuple[object, pl.DataFrame, pl.DataFrame, datetime]] = []

    def open_store(self, feast_dir: Path, offline_dir: Path, redis: str) -> str:
        self.opened.append((feast_dir, offline_dir, redis))
        return f"store at {redis}"

    def materialise(self, *call: Any) -> None:
        self.online.append(call)
        self._happen()

    def take_back(self, opened: object, user_ids: list[str]) -> None:
        self.taken_back.append((opened, user_ids))
        self._happen()

    def _happen(self) -> None:
        if self.meanwhile:
            self.meanwhile.pop(0)()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> FakeStore:
    fake = FakeStore()
    monkeypatch.setitem(sys.modules, "features.store", fake)
    monkeypatch.setattr(features, "store", fake, raising=False)
    return fake


def test_shoppers_are_those_known_before_the_bundle_ends_by_the_items_it_serves(bundle: Bundle) -> None:
    rows = user_rows(DATA, bundle)
    assert rows["user_id"].to_list() == ["household-1", "household-7"]
    assert rows["history_item_ids"].to_list() == [["RYE-BREAD"], ["OAT-MILK"]]
    assert rows.columns == ["user_id", *(feature.name for feature in spec.USER_FEATURES)]


def test_both_tables_lie_offline_and_go_online_as_of_the_bundle(
    bundle: Bundle, store: FakeStore, tmp_path: Path
) -> None:
    feast_dir, offline_dir = tmp_path / "feast", tmp_path / "offline"
    count = materialise_bundle(DATA, bundle, feast_dir, offline_dir, "127.0.0.1:1")
    assert count == 2
    assert store.opened == [(feast_dir, offline_dir, "127.0.0.1:1")]
    ((opened, users, shelf, instant),) = store.online
    assert opened == "store at 127.0.0.1:1"
    assert instant == AS_OF
    assert users.equals(user_rows(DATA, bundle))
    assert shelf.equals(pl.read_parquet(bundle.path(files.ITEM_COLUMNS)))
    for entity, frame in (("user", users), ("item", shelf)):
        (path,) = offline_folder(entity, offline_dir).iterdir()  # type: ignore[arg-type]
        stored = pl.read_parquet(path)
        assert stored.drop("event_timestamp", "created").equals(frame)
        assert stored["event_timestamp"].unique().to_list() == [AS_OF]


def test_who_is_left_out_or_forgotten_meanwhile_is_taken_out_again(
    bundle: Bundle, store: FakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One while rows go online, another while the first is taken out."""
    monkeypatch.delenv(KEY_FILE_VARIABLE, raising=False)
    live, offline_dir = tmp_path / "live", tmp_path / "offline"
    digest = open_digest(live, None)
    more = event("household-3", "OAT-MILK", 20)
    data = dataset(pl.concat([DATA.events, events(more)]), DATA.items)
    leave_out_until(live, [digest("household-3")], AS_OF, keep_opted_out=True)  # before, and there are new events
    store.meanwhile = [
        lambda: leave_out(live, [digest("household-7"), digest("of no row")]),
        lambda: leave_out_until(live, [digest("household-1")], AS_OF, keep_opted_out=True),
    ]
    newly = NewlyLeftOut(live)
    assert materialise_bundle(data, bundle, tmp_path / "feast", offline_dir, "127.0.0.1:1", newly) == 1
    assert store.taken_back == [("store at 127.0.0.1:1", ["household-7"]), ("store at 127.0.0.1:1", ["household-1"])]
    (path,) = offline_folder("user", offline_dir).iterdir()
    assert pl.read_parquet(path)["user_id"].to_list() == ["household-3"]


def test_the_list_is_looked_at_before_the_data_is_read(
    bundle: Bundle, store: FakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_FILE_VARIABLE, raising=False)
    live = tmp_path / "live"

    def load(_source: str, _cache: Path) -> Dataset:
        leave_out(live, [open_digest(live, None)("household-7")])
        return DATA

    monkeypatch.setattr(materialise, "load", load)
    monkeypatch.setattr(materialise, "block", lambda *_: None)
    words = f"materialise --data corner-shop+live:{live} --bundles {bundle.root.parent}"
    words += f" --feast-dir {tmp_path / 'f'} --offline-dir {tmp_path / 'o'}"
    monkeypatch.setattr(sys, "argv", words.split())
    materialise.main()
    assert [names for _, names in store.taken_back] == [["household-7"]]


def test_the_command_line_takes_the_serving_bundle_and_keeps_heavy_libraries_out(
    bundle: Bundle, store: FakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, Path]] = []
    blocked: list[str] = []

    def load(source: str, cache: Path) -> Dataset:
        asked.append((source, cache))
        return DATA

    monkeypatch.setattr(materialise, "load", load)
    monkeypatch.setattr(materialise, "block", lambda *names: blocked.extend(names))
    words = f"materialise --data corner-shop --cache {tmp_path / 'c'} --bundles {bundle.root.parent}"
    words += f" --feast-dir {tmp_path / 'f'} --offline-dir {tmp_path / 'o'} --redis localhost:7"
    monkeypatch.setattr(sys, "argv", words.split())
    materialise.main()
    assert asked == [("corner-shop", tmp_path / "c")]
    assert store.opened == [(tmp_path / "f", tmp_path / "o", "localhost:7")]
    assert store.online[0][3] == AS_OF
    assert {"torch", "transformers"} <= set(blocked)
