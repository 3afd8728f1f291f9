"""Items come in, change and go over a real socket, with a real Valkey and a real Triton behind it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from aisle.v1 import catalog_service_pb2 as messages

from features import bundle as files
from features.bundle import Bundle, promote
from features.live_data import read_catalogue, write_catalogue
from services.common import streams
from services.common.process import free_port
from services.common.scorer import TritonScorer
from services.common.streams import catalogue_vectors
from services.common.towers import FloatArray, TowerModels
from services.common.valkey import ValkeyConfig, start_valkey
from services.ingest.catalog import keeper
from services.triton.repository import build_repository
from tests.fakes import FakeScorer
from tests.integration.catalog_stack import (
    VERSION,
    Door,
    RunningCatalogue,
    assert_same,
    running_catalogue,
    text_runs,
    until,
)
from tests.integration.conftest import TinyTriton
from tests.second_bundle import rewritten
from tests.tiny_bundle import write_tiny_towers
from tests.tiny_shop import write_shop_bundle

NOW = datetime(2026, 1, 1, tzinfo=UTC)
UPSERTED, DELETED = messages.ITEM_STATUS_UPSERTED, messages.ITEM_STATUS_DELETED
INVALID, UNKNOWN, UNAVAILABLE = (
    messages.ITEM_STATUS_INVALID,
    messages.ITEM_STATUS_UNKNOWN,
    messages.ITEM_STATUS_UNAVAILABLE,
)
WINE = messages.Item(item_id="WINE", title="Red wine", description="From the hills.", price=8.0)
WINE_TEXT = "Red wine. From the hills."


@pytest.fixture(scope="module")
def valkey_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    with start_valkey(ValkeyConfig(tmp_path_factory.mktemp("valkey"), port, append_only=False)):
        yield port


@pytest.fixture
async def valkey(valkey_port: int) -> str:
    address = f"127.0.0.1:{valkey_port}"
    client = streams.connect(address)
    await client.flushall()
    await client.aclose()
    return address


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_shop_bundle(tmp_path / "bundles", seed=1)


@pytest.fixture
async def shop(tmp_path: Path, bundle: Bundle, valkey: str, tiny_triton: TinyTriton) -> AsyncIterator[RunningCatalogue]:
    async with running_catalogue(
        tmp_path / "bundles", tmp_path / "live", valkey, tiny_triton.process.grpc_address
    ) as running:
        yield running


async def oracle(triton: TinyTriton, text: str) -> FloatArray:
    vectors = await triton.oracle.text_vectors([text], 1.0)
    return vectors.reshape(-1)


def of_bundle(bundle: Bundle, item_id: str, **changes: Any) -> messages.Item:
    """An item as the bundle has it, apart from some changes."""
    row = pl.read_parquet(bundle.path(files.ITEMS)).row(by_predicate=pl.col("item_id") == item_id, named=True)
    attributes = {pair["key"]: pair["value"] for pair in row.pop("attributes")}
    category_path = row.pop("category")
    return messages.Item(**(row | {"category_path": category_path, "attributes": attributes} | changes))


def with_changes(item: messages.Item, **changes: Any) -> messages.Item:
    changed = messages.Item()
    changed.CopyFrom(item)
    for name, value in changes.items():
        setattr(changed, name, value)
    return changed


async def test_a_new_item_is_stored_with_the_vector_of_its_text(
    shop: RunningCatalogue, tiny_triton: TinyTriton
) -> None:
    (result,) = await shop.upsert(WINE)
    assert result == messages.ItemResult(item_id="WINE", status=UPSERTED)
    live = await shop.live("WINE")
    assert live is not None
    assert (live.title, live.price, live.in_stock, live.revision) == ("Red wine", 8.0, True, 1)
    assert_same(await shop.vector("WINE"), await oracle(tiny_triton, WINE_TEXT))
    assert await shop.changes() == [("WINE", 1)]
    await until(lambda: shop.known("WINE"))
    assert shop.known("item-0")
    assert not shop.known("BEER")
    assert shop.metric("aisle_catalogue_changes_total", status="UPSERTED") == 1
    assert shop.metric("aisle_text_vectors_seconds_count") == 1


async def test_price_and_stock_change_without_a_word_to_triton(shop: RunningCatalogue, tiny_triton: TinyTriton) -> None:
    await shop.upsert(WINE)
    vector, runs = await shop.vector("WINE"), text_runs(tiny_triton, tiny_triton.models.text)
    for change in ({"price": 7.5}, {"in_stock": False}, {"brand": "Hill"}, {"sensitive": True}):
        (result,) = await shop.upsert(with_changes(WINE, **change))
        assert result.status == UPSERTED
    live = await shop.live("WINE")
    assert live is not None
    assert (live.price, live.sensitive, live.revision) == (8.0, True, 5)
    assert vector is not None
    assert_same(await shop.vector("WINE"), vector)
    assert text_runs(tiny_triton, tiny_triton.models.text) == runs


async def test_an_item_of_the_bundle_keeps_the_bundles_vector_as_long_as_its_text_is_the_same(
    shop: RunningCatalogue, bundle: Bundle, tiny_triton: TinyTriton
) -> None:
    runs = text_runs(tiny_triton, tiny_triton.models.text)
    await shop.upsert(of_bundle(bundle, "item-3", price=99.0))
    live = await shop.live("item-3")
    assert live is not None
    assert live.price == 99.0
    assert await shop.vector("item-3") is None
    assert text_runs(tiny_triton, tiny_triton.models.text) == runs

    await shop.upsert(of_bundle(bundle, "item-3", title="Milk"))
    assert_same(await shop.vector("item-3"), await oracle(tiny_triton, "Milk"))
    await shop.upsert(of_bundle(bundle, "item-3", price=98.0))
    assert await shop.vector("item-3") is None


async def test_what_is_as_it_was_changes_nothing(shop: RunningCatalogue, bundle: Bundle) -> None:
    await shop.upsert(WINE)
    before = await shop.changes()
    results = await shop.upsert(WINE, of_bundle(bundle, "item-3"))
    assert [result.status for result in results] == [UPSERTED] * 2
    assert await shop.changes() == before
    assert await shop.live("item-3") is None


async def test_a_new_text_has_a_new_vector(shop: RunningCatalogue, tiny_triton: TinyTriton) -> None:
    await shop.upsert(WINE)
    await shop.upsert(with_changes(WINE, description="From the sea."))
    assert_same(await shop.vector("WINE"), await oracle(tiny_triton, "Red wine. From the sea."))


async def test_more_items_than_fit_into_one_call_each_have_their_own_vector(
    shop: RunningCatalogue, tiny_triton: TinyTriton
) -> None:
    items = [
        messages.Item(item_id=f"new-{number}", title="wine " * (number % 7) + str(number)) for number in range(150)
    ]
    results = await shop.upsert(*items)
    assert {result.status for result in results} == {UPSERTED}
    assert [result.item_id for result in results] == [item.item_id for item in items]
    for item in (items[0], items[63], items[64], items[149]):
        assert_same(await shop.vector(item.item_id), await oracle(tiny_triton, item.title))


async def test_a_bad_item_is_named_and_the_others_are_stored(shop: RunningCatalogue) -> None:
    bad = messages.Item(item_id="BAD", title="Bad", price=float("nan"))
    results = await shop.upsert(WINE, bad, WINE, messages.Item(item_id="TEA", title="Tea"))
    assert [(result.status, result.field) for result in results] == [
        (UPSERTED, ""),
        (INVALID, "price"),
        (INVALID, "item_id"),
        (UPSERTED, ""),
    ]
    assert await shop.live("BAD") is None
    assert shop.metric("aisle_catalogue_changes_total", status="INVALID") == 2


async def test_checking_alone_changes_nothing(shop: RunningCatalogue) -> None:
    results = await shop.upsert(WINE, messages.Item(item_id="BAD"), validate_only=True)
    assert [result.status for result in results] == [UPSERTED, INVALID]
    assert await shop.live("WINE") is None
    assert await shop.changes() == []


async def test_sensitive_text_is_flagged_and_what_no_shop_sells_is_refused(shop: RunningCatalogue) -> None:
    cigars = messages.Item(item_id="CIGARS", title="Box of cigars")
    refused = messages.Item(item_id="NO", title="Pictures", description="child porn")
    results = await shop.upsert(cigars, refused)
    assert [(result.status, result.field) for result in results] == [(UPSERTED, ""), (INVALID, "description")]
    live = await shop.live("CIGARS")
    assert live is not None
    assert (live.flags, live.sensitive, live.is_hidden) == (("tobacco",), False, True)
    assert await shop.live("NO") is None


async def test_deleted_items_are_marked_and_nobody_has_them_any_more(shop: RunningCatalogue) -> None:
    await shop.upsert(WINE)
    await until(lambda: shop.known("WINE"))
    results = await shop.delete("WINE", "item-3", "BEER", "", "WINE")
    assert [result.status for result in results] == [DELETED, DELETED, UNKNOWN, INVALID, DELETED]
    for item_id in ("WINE", "item-3"):
        live = await shop.live(item_id)
        assert live is not None
        assert live.deleted
        assert live.title
    assert await shop.vector("WINE") is None
    await until(lambda: not shop.known("WINE") and not shop.known("item-3"))

    changes = await shop.changes()
    assert [result.status for result in await shop.delete("WINE", "item-3")] == [DELETED] * 2
    assert await shop.changes() == changes


async def test_a_deleted_item_comes_back_with_its_vector(shop: RunningCatalogue, tiny_triton: TinyTriton) -> None:
    await shop.upsert(WINE)
    await shop.delete("WINE")
    await shop.upsert(WINE)
    assert_same(await shop.vector("WINE"), await oracle(tiny_triton, WINE_TEXT))
    await until(lambda: shop.known("WINE"))


async def test_while_triton_is_away_items_are_stored_and_get_their_vectors_when_it_is_back(
    tmp_path: Path, bundle: Bundle, valkey: str, tiny_triton: TinyTriton
) -> None:
    door = Door(tiny_triton.process.grpc_address)
    async with running_catalogue(tmp_path / "bundles", tmp_path / "live", valkey, door.address) as shop:
        items = [messages.Item(item_id=f"new-{number}", title=f"wine {number}") for number in range(70)]
        results = await shop.upsert(*items)
        assert {result.status for result in results} == {UPSERTED}
        await until(lambda: shop.metric("aisle_items_without_vector") == 70)
        assert await shop.vector("new-1") is None
        async with door.opened():
            await until(lambda: shop.metric("aisle_items_without_vector") == 0)
            for number in (0, 69):
                assert_same(await shop.vector(f"new-{number}"), await oracle(tiny_triton, f"wine {number}"))
        live = await shop.live("new-1")
        assert live is not None
        assert (await shop.changes())[-1][1] <= 70  # a vector that comes later is a change, too, of the same revision
        assert len(await shop.changes()) == 140


async def test_a_vector_of_an_older_text_never_stands_beside_a_newer_one(
    tmp_path: Path, bundle: Bundle, valkey: str, tiny_triton: TinyTriton
) -> None:
    door = Door(tiny_triton.process.grpc_address)
    async with running_catalogue(tmp_path / "bundles", tmp_path / "live", valkey, door.address) as shop:
        async with door.opened():
            await shop.upsert(WINE)
            await until(lambda: shop.vector("WINE"))
        async with running_catalogue(tmp_path / "bundles", tmp_path / "live", valkey, "127.0.0.1:1") as other:
            await other.upsert(with_changes(WINE, title="Milk"))
            found = await other.vector("WINE")  # none, or what the first process has made of the new text
            assert found is None or abs(found - await oracle(tiny_triton, WINE_TEXT)).max() > 0.01


async def test_of_upserts_at_the_same_time_one_is_last_with_its_own_vector(
    tmp_path: Path, shop: RunningCatalogue, valkey: str, tiny_triton: TinyTriton
) -> None:
    async with running_catalogue(
        tmp_path / "bundles", tmp_path / "live", valkey, tiny_triton.process.grpc_address
    ) as other:
        variants = [with_changes(WINE, title=f"wine {number}") for number in range(4)]
        results = await asyncio.gather(
            *(process.upsert(variant) for variant, process in zip(variants, (shop, other) * 2, strict=True))
        )
        assert [result.status for (result,) in results] == [UPSERTED] * 4
        live = await shop.live("WINE")
        assert live is not None
        assert_same(await shop.vector("WINE"), await oracle(tiny_triton, f"{live.title}. {live.description}"))
        assert live.revision == (await shop.changes())[-1][1]
        await until(lambda: other.known("WINE"))


async def test_without_valkey_nothing_is_stored_and_each_item_says_so(
    tmp_path: Path, bundle: Bundle, tiny_triton: TinyTriton
) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    async with running_catalogue(
        tmp_path / "bundles", tmp_path / "live", nobody, tiny_triton.process.grpc_address
    ) as shop:
        results = await shop.upsert(WINE, messages.Item(item_id="BAD"))
        assert [result.status for result in results] == [UNAVAILABLE, INVALID]
        assert [result.status for result in await shop.delete("item-3", "")] == [UNAVAILABLE, INVALID]
        assert shop.known("item-3")


async def test_the_file_for_the_next_training_follows_the_catalogue(
    tmp_path: Path, bundle: Bundle, valkey: str, tiny_triton: TinyTriton
) -> None:
    live = tmp_path / "live"
    triton = tiny_triton.process.grpc_address
    async with running_catalogue(tmp_path / "bundles", live, valkey, triton) as shop:
        await shop.upsert(WINE, messages.Item(item_id="CIGARS", title="Box of cigars"))
        await until(lambda: read_catalogue(live).height == 2)
        await shop.delete("item-3")
    table = read_catalogue(live)  # what was not written yet is written on leaving
    assert table.select("item_id", "price", "sensitive", "deleted").rows() == [
        ("CIGARS", None, True, False),
        ("WINE", 8.0, False, False),
        ("item-3", 4.0, False, True),
    ]


async def test_a_file_that_could_not_be_written_is_written_later(
    shop: RunningCatalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = list[int]()

    def full_at_first(live: Path, table: pl.DataFrame) -> Path:
        if table.height and not failed:
            failed.append(table.height)
            raise OSError("No space left on device")
        return write_catalogue(live, table)

    monkeypatch.setattr(keeper, "write_catalogue", full_at_first)
    await shop.upsert(WINE)
    await until(lambda: failed)
    await until(lambda: read_catalogue(tmp_path / "live").height == 1)


async def second_bundle(first: Bundle, triton: TinyTriton, scorer: TritonScorer) -> tuple[Bundle, FakeScorer]:
    """Another bundle with other towers, loaded, that has WINE as it came in."""

    def change(root: Path) -> None:
        write_tiny_towers(root, seed=7)
        items = pl.read_parquet(root / files.ITEMS)
        wine = items.head(1).with_columns(
            item_id=pl.lit("WINE"), title=pl.lit("Red wine"), description=pl.lit("From the hills."), price=8.0,
            category=pl.lit([], pl.List(pl.String)), brand=pl.lit(None, pl.String), in_stock=True,
            attributes=pl.lit([], items.schema["attributes"]),
        )  # fmt: skip
        pl.concat([items, wine]).write_parquet(root / files.ITEMS)

    bundle = rewritten(first, first.root.parent, "tiny.second", change)
    for model in build_repository(bundle.root, "cpu", triton.repository):
        await scorer.load(model)
    return bundle, FakeScorer.of_bundle(bundle.root)


@pytest.fixture
async def second(
    bundle: Bundle, tiny_triton: TinyTriton, triton_scorer: TritonScorer
) -> AsyncIterator[tuple[Bundle, FakeScorer]]:
    yield await second_bundle(bundle, tiny_triton, triton_scorer)
    names = TowerModels.of_version("tiny.second")
    for model in (names.text, names.interest):
        await triton_scorer.unload(model)


async def test_after_a_promotion_everything_is_encoded_anew_and_what_the_bundle_has_is_folded_into_it(
    shop: RunningCatalogue, tmp_path: Path, bundle: Bundle, second: tuple[Bundle, FakeScorer], tiny_triton: TinyTriton
) -> None:
    other, other_oracle = second
    ancient = "tiny.ancient"
    await shop.valkey.hset(catalogue_vectors(ancient), "WINE", b"old")
    await shop.valkey.sadd(streams.CATALOGUE_VERSIONS, ancient)
    tea = messages.Item(item_id="TEA", title="Green tea")
    await shop.upsert(WINE, tea, of_bundle(bundle, "item-3", title="Milk"))

    promote(tmp_path / "bundles", other.version, "a test", NOW)
    await until(lambda: shop.vector("TEA", other.version))
    await until(lambda: shop.vector("item-3", other.version))
    for item_id, text in (("TEA", "Green tea"), ("item-3", "Milk")):
        assert_same(await shop.vector(item_id, other.version), (await other_oracle.text_vectors([text], 1.0))[0])
        assert_same(await shop.vector(item_id, VERSION), await oracle(tiny_triton, text))  # for who is not there yet

    folded = await until(lambda: shop.live("WINE", streams.CATALOGUE_FOLDED))
    assert folded.title == "Red wine"
    assert await shop.live("WINE") is None
    assert await shop.vector("WINE", other.version) is None
    assert shop.known("WINE")
    assert await until(lambda: _has_gone(shop, ancient))
    await until(lambda: read_catalogue(tmp_path / "live")["item_id"].to_list() == ["TEA", "WINE", "item-3"])

    (result,) = await shop.upsert(WINE)  # as the bundle has it
    assert result.status == UPSERTED
    assert await shop.live("WINE") is None

    promote(tmp_path / "bundles", VERSION, "taken back", NOW)
    await until(lambda: shop.vector("WINE", VERSION))
    assert_same(await shop.vector("WINE", VERSION), await oracle(tiny_triton, WINE_TEXT))
    assert await shop.live("WINE") is not None
    assert await shop.live("WINE", streams.CATALOGUE_FOLDED) is None


async def _has_gone(shop: RunningCatalogue, version: str) -> bool:
    return not await shop.valkey.exists(catalogue_vectors(version))


async def test_a_folded_item_that_changes_is_a_live_one_again(
    shop: RunningCatalogue, tmp_path: Path, second: tuple[Bundle, FakeScorer]
) -> None:
    other, other_oracle = second
    await shop.upsert(WINE)
    promote(tmp_path / "bundles", other.version, "a test", NOW)
    await until(lambda: shop.live("WINE", streams.CATALOGUE_FOLDED))
    await shop.upsert(with_changes(WINE, price=9.0))
    live = await shop.live("WINE")
    assert live is not None
    assert live.price == 9.0
    assert await shop.vector("WINE", other.version) is None
    assert await shop.live("WINE", streams.CATALOGUE_FOLDED) is None
    await shop.upsert(with_changes(WINE, title="Milk"))
    expected = (await other_oracle.text_vectors(["Milk. From the hills."], 1.0))[0]
    assert_same(await shop.vector("WINE", other.version), expected)


async def test_a_bundle_whose_towers_are_not_there_is_waited_for(
    shop: RunningCatalogue, tmp_path: Path, bundle: Bundle, tiny_triton: TinyTriton
) -> None:
    other = rewritten(bundle, tmp_path / "bundles", "tiny.unloaded", lambda root: write_tiny_towers(root, seed=8))
    promote(tmp_path / "bundles", other.version, "a test", NOW)
    await shop.upsert(WINE)
    assert_same(await shop.vector("WINE", VERSION), await oracle(tiny_triton, WINE_TEXT))
    assert await shop.vector("WINE", other.version) is None
