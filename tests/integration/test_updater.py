"""The updater over a real Valkey and a real feature store: features equal a recount, the log has every event once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from polars.testing import assert_frame_equal
from prometheus_client import CollectorRegistry

from features.atomic import write_atomically
from features.bundle import REGULAR_PRICES, Bundle, BundleError
from features.event_log import files, read
from features.live_items import LiveItem, to_json
from features.pseudonyms import pseudonym
from features.transforms import known_events
from services.common.freshness import lags
from services.common.settings import SettingsError
from services.common.streams import (
    BEGINNING,
    CATALOGUE_CHANGES,
    CATALOGUE_ITEMS,
    UPDATERS,
    WANTED,
    EntryId,
    ShardKeys,
)
from services.ingest.dead_letters import letters, main, replay
from services.ingest.seed import seed
from services.ingest.updater import log_writer, root
from services.ingest.updater.lease import Leases
from services.ingest.updater.log_writer import LogWriter
from services.ingest.updater.root import Updater, updating
from services.ingest.updater.shard_store import Commit, LeaseLost, ShardStore, StateChanged
from services.ingest.updater.state import lines_of
from tests.integration.live_shop import SHARDS, LiveShop, kill, until
from tests.shop import day, event, events


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[LiveShop]:
    """A shop of its own for every test."""
    shop = LiveShop(tmp_path)
    yield shop
    await shop.close()


async def test_events_become_rows_and_files_and_leave_the_streams(shop: LiveShop) -> None:
    happened = shop.events(60)
    async with shop.updater() as registry:
        await shop.send(happened[:25])
        await shop.handled()
        await shop.send(happened[25:])
        await shop.send(happened[25:30])
        await shop.handled()
        assert_frame_equal(await shop.rows(one.user_id for one in happened), shop.recount(happened), check_exact=True)
        assert registry.get_sample_value("aisle_updater_events_total") == 65
        assert await lags(shop.client, SHARDS) == [0.0] * SHARDS
    assert shop.logged() == sorted(one.event_id for one in [*happened, *happened[25:30]])
    assert [await shop.client.xlen(ShardKeys(shard).events) for shard in range(SHARDS)] == [0] * SHARDS
    assert await shop.owners() == [None] * SHARDS


async def test_an_event_that_waits_is_seen_in_the_lag(shop: LiveShop) -> None:
    await shop.send([shop.event(1, "user-1")])
    await asyncio.sleep(0.05)
    found = await lags(shop.client, SHARDS)
    theirs = found.pop(shop.keys("user-1").shard)
    assert 0.04 < theirs < 30
    assert found == [0.0] * (SHARDS - 1)


async def test_a_killed_updater_is_followed_by_another_that_loses_and_doubles_nothing(shop: LiveShop) -> None:
    happened = shop.events(4000, shopper_count=40)
    await shop.send(happened[:2000])
    changes = {"batch_events": 50, "log_seconds": 0.2, "log_events": 60}
    with shop.start_updater(**changes) as first:

        async def under_way() -> bool:
            return bool(shop.logged()) and await shop.client.hget(shop.keys("user-1").progress, "features") is not None

        await until(under_way)
        kill(first)
        first.stop()
        assert len(shop.logged()) < 2000, "it was ready before it was killed"
    with shop.start_updater(**changes) as second:
        await shop.send(happened[2000:])
        await shop.handled()
        assert second.stop() == 0
    assert_frame_equal(await shop.rows(one.user_id for one in happened), shop.recount(happened), check_exact=True)
    assert shop.logged() == sorted(one.event_id for one in happened)


async def test_an_updater_that_stops_late_in_its_leases_still_writes_its_last_files(
    shop: LiveShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def late() -> bool:
        return 0 < int(await shop.client.pttl(ShardKeys(0).owner)) < 27_000

    monkeypatch.setattr(Leases, "keep", Leases.renew)  # once, as on a machine that has no time for it again
    monkeypatch.setattr(log_writer, "_LEASE_SECONDS_MIN", 27.0)
    happened = shop.events(20)
    async with shop.updater(lease_seconds=30.0, log_seconds=60.0):
        await shop.send(happened)
        await shop.handled()
        await until(late)
        assert shop.logged() == []
    assert shop.logged() == sorted(one.event_id for one in happened)


async def test_files_are_written_once_a_full_disk_has_room_again(
    shop: LiveShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = set[Path]()

    def full_at_first(path: Path, fill: Callable[[Path], object]) -> Path:
        if path in failed:
            return write_atomically(path, fill)
        failed.add(path)
        return write_atomically(path, lambda _: fill(Path("/dev/full")))

    monkeypatch.setattr(files, "write_atomically", full_at_first)
    happened = shop.events(20)
    async with shop.updater(log_seconds=0.1):
        await shop.send(happened)

        async def are_logged() -> bool:
            return shop.logged() == sorted(one.event_id for one in happened)

        await until(are_logged)
    assert failed


async def test_shards_are_given_back_though_the_last_files_cannot_be_written(
    shop: LiveShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: Any, **__: Any) -> None:
        raise OSError("No space left on device")

    async def all_owned() -> bool:
        return None not in await shop.owners()

    monkeypatch.setattr(LogWriter, "write", full)
    async with shop.updater(lease_seconds=60.0):
        await until(all_owned)
    assert await shop.owners() == [None] * SHARDS


@pytest.mark.parametrize(("part", "work"), [(Leases, "keep"), (LogWriter, "keep"), (Updater, "_watch")])
async def test_an_updater_ends_with_what_ends_a_part_of_it(
    shop: LiveShop, monkeypatch: pytest.MonkeyPatch, part: type, work: str
) -> None:
    async def broken(_: object) -> None:
        raise LookupError("nobody has foreseen it")

    monkeypatch.setattr(part, work, broken)
    async with updating(shop.settings(), shop.bundle, CollectorRegistry()) as task, asyncio.timeout(60.0):
        with pytest.raises(LookupError, match="foreseen"):
            await task


async def test_an_idle_wait_that_is_longer_than_a_command_may_take_is_no_outage(
    shop: LiveShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait, outcomes = ShardStore.wait, list[object]()

    async def noted(store: ShardStore, after: EntryId, seconds: float) -> bool:
        try:
            outcomes.append(await wait(store, after, seconds))
        except Exception as error:
            outcomes.append(error)
            raise
        return bool(outcomes[-1])

    async def have_waited() -> bool:
        return len(outcomes) >= SHARDS

    monkeypatch.setattr(ShardStore, "wait", noted)
    monkeypatch.setattr(root, "_COMMAND_SECONDS", 1.0)
    async with shop.updater(idle_seconds=2.0):
        await until(have_waited)
    assert outcomes[:SHARDS] == [False] * SHARDS


async def test_two_updaters_share_the_shards_and_one_takes_over(shop: LiveShop) -> None:
    async def are_shared() -> bool:
        owners = await shop.owners()
        return None not in owners and sorted(map(owners.count, set(owners))) == [SHARDS // 2] * 2

    with shop.start_updater() as process:
        async with shop.updater():
            await until(are_shared)
            kill(process)

            async def are_one_s() -> bool:
                owners = await shop.owners()
                return None not in owners and len(set(owners)) == 1

            await until(are_one_s)
            happened = shop.events(50)
            await shop.send(happened)
            await shop.handled()
            assert_frame_equal(
                await shop.rows(one.user_id for one in happened), shop.recount(happened), check_exact=True
            )
    assert await shop.client.zcard(UPDATERS) == 0


async def test_a_wanted_shard_is_given_back_and_taken_again(shop: LiveShop) -> None:
    async def owner() -> bytes | None:
        owned: bytes | None = await shop.client.get(ShardKeys(1).owner)
        return owned

    async def is_owned() -> bool:
        return await owner() is not None

    async def is_free() -> bool:
        return await owner() is None

    async with shop.updater():
        await until(is_owned)
        await shop.client.zadd(WANTED, {"1": 2**52})
        await until(is_free)
        await asyncio.sleep(0.3)
        assert await owner() is None
        await shop.client.zrem(WANTED, "1")
        await until(is_owned)


async def test_a_commit_of_somebody_who_is_no_owner_is_refused(shop: LiveShop) -> None:
    await shop.client.set(shop.keys("user-1").owner, "somebody else")
    happened = shop.events(30)
    async with shop.updater():
        await shop.send(happened)
        others = [one for one in happened if shop.keys(one.user_id).shard != shop.keys("user-1").shard]

        async def are_known() -> bool:
            return (await shop.rows(one.user_id for one in happened)).equals(shop.recount(others))

        await until(are_known)
        await asyncio.sleep(0.3)
        assert await are_known()


async def test_what_cannot_be_counted_is_a_dead_letter_until_it_is_replayed(shop: LiveShop) -> None:
    bad, good = shop.event(1, "user-1"), shop.event(2, "user-2")
    keys = shop.keys("user-1")
    await shop.client.set(keys.shopper("user-1"), b"broken\n")
    async with shop.updater():
        await shop.client.xadd(keys.events, {"e": b"\xff"})
        await shop.client.xadd(keys.events, {"other": b""})
        await shop.send([bad, good])
        await shop.handled()
        found = [letter async for letter in letters(shop.client, SHARDS)]
        assert len(found) == 3
        assert sum("not an event" in letter.reason for letter in found) == 1
        assert sum("event_id" in letter.reason for letter in found) == 1
        [broken] = [letter for letter in found if letter.event == bad.SerializeToString()]
        assert "state" in broken.reason
        assert (await shop.rows(["user-1", "user-2"])).equals(shop.recount([good]))

        await shop.client.delete(keys.shopper("user-1"))
        assert await replay(shop.client, broken)
        assert not await replay(shop.client, broken)
        await shop.handled()
        assert (await shop.rows(["user-1", "user-2"])).equals(shop.recount([bad, good]))
    assert shop.logged() == ["event-1", "event-2"]
    assert await shop.client.xlen(keys.dead) == 2


async def test_the_command_line_shows_replays_and_drops_dead_letters(
    shop: LiveShop, capsys: pytest.CaptureFixture[str]
) -> None:
    keys, event = shop.keys("user-1"), shop.event(1, "user-1")
    for letter in (event.SerializeToString(), b"\xff"):
        await shop.client.xadd(keys.dead, {"e": letter, "entry": "1-1", "reason": "a test"})
    names = [letter.name async for letter in letters(shop.client, SHARDS)]

    async def told(*arguments: str) -> str:
        where = ("--redis", shop.address, "--shards", str(SHARDS))
        await asyncio.to_thread(main, [*arguments, *where])
        return capsys.readouterr().out

    assert [line.split()[0] for line in (await told("list")).splitlines()] == names
    shown = await told("show", names[0])
    assert 'event_id: "event-1"' in shown
    assert names[1] not in shown
    await told("replay", names[0])
    [(_, fields)] = await shop.client.xrange(keys.events)
    assert fields == {b"e": event.SerializeToString()}
    await told("drop", "--all")
    assert await told("list") == ""
    with pytest.raises(SystemExit, match=f"not there: {names[0]}"):
        await told("drop", names[0])


async def test_files_hold_pseudonyms_where_a_key_is_configured(shop: LiveShop) -> None:
    key_file = shop.folder / "pseudonyms.key"
    key_file.write_bytes(b"sixteen secret bytes")
    async with shop.updater(pseudonym_key_file=key_file):
        await shop.send(shop.events(5))
        await shop.handled()
    frame = read(shop.folder / "live")
    assert set(frame["user_id"]) == {pseudonym(b"sixteen secret bytes", f"user-{number}") for number in range(5)}


async def test_a_key_that_is_none_is_refused_at_the_start(shop: LiveShop) -> None:
    key_file = shop.folder / "pseudonyms.key"
    key_file.write_bytes(b"short")
    with pytest.raises(SettingsError, match=f"^AISLE_PSEUDONYM_KEY_FILE: {key_file}: key: 5 bytes, not 16 to 64$"):
        async with shop.updater(pseudonym_key_file=key_file):
            pass


async def test_a_commit_is_refused_after_a_purge_an_opt_out_a_takeover_or_itself(shop: LiveShop) -> None:
    keys, token = shop.keys("user-1"), "token"
    await shop.client.set(keys.owner, token)
    store = ShardStore(shop.client, keys.shard, token, shop.digest)
    await shop.send([shop.event(1, "user-1")])
    [entry] = await store.entries(BEGINNING, 10)
    await shop.client.set(keys.shopper("user-1"), b"read\n")
    read_states = await store.states(["user-1"])
    lengths, named = {"user-1": len(read_states["user-1"])}, ["user-1", "visitor-1"]
    commit = Commit(BEGINNING, entry.id, named, lengths, {"user-1": b"more\n"})
    await shop.client.delete(keys.shopper("user-1"))
    with pytest.raises(StateChanged):
        await store.commit(commit)
    await shop.client.set(keys.shopper("user-1"), b"read\n")
    for name in named:
        await shop.client.sadd(keys.opted_out, shop.digest(name))
        with pytest.raises(StateChanged):
            await store.commit(commit)
        await shop.client.delete(keys.opted_out)
    with pytest.raises(LeaseLost):
        await ShardStore(shop.client, keys.shard, "another", shop.digest).commit(commit)
    await store.commit(commit)
    assert await shop.client.get(keys.shopper("user-1")) == b"read\nmore\n"
    with pytest.raises(StateChanged):
        await store.commit(commit)


async def test_a_state_that_somebody_changes_between_two_rounds_is_read_again(shop: LiveShop) -> None:
    sent = 0
    async with shop.updater() as registry:

        async def act() -> None:
            nonlocal sent
            await shop.send([shop.event(sent, "user-1")])
            await shop.handled()
            sent += 1

        def is_cached() -> bool:
            return bool(registry.get_sample_value("aisle_updater_states_total", {"place": "cache"}))

        while not is_cached():
            assert sent < 20
            await act()
        await shop.client.delete(shop.keys("user-1").shopper("user-1"))
        await act()
        assert (await shop.rows(["user-1"])).equals(shop.recount([shop.event(sent - 1, "user-1")]))


async def test_a_live_item_counts_from_when_the_catalogue_has_it(shop: LiveShop) -> None:
    newcomer = LiveItem(item_id="newcomer", title="new", category=("dairy", "plain"))
    async with shop.updater():
        await shop.send([shop.event(1, "user-1", item_id="newcomer")])
        await shop.handled()
        assert (await shop.rows(["user-1"])).is_empty()
        await shop.client.hset(CATALOGUE_ITEMS, "newcomer", to_json(newcomer))
        await shop.client.xadd(CATALOGUE_CHANGES, {"item_id": "newcomer", "revision": 1})
        await shop.send([shop.event(2, "user-1")])
        await shop.handled()
        assert (await shop.rows(["user-1"]))["event_count"].item() == 2


async def test_a_bundle_without_regular_prices_is_refused_in_words(shop: LiveShop) -> None:
    manifest = dict(shop.bundle.manifest)
    hashes = {name: digest for name, digest in manifest["sha256"].items() if name != REGULAR_PRICES}
    older = Bundle(shop.bundle.root, manifest | {"sha256": hashes})
    with pytest.raises(BundleError, match=r"regular_prices.*trained with this version"):
        async with updating(shop.settings(), older, CollectorRegistry()):
            pass


async def test_events_of_shoppers_who_opted_out_are_neither_counted_nor_kept(shop: LiveShop) -> None:
    await shop.client.sadd(shop.keys("user-1").opted_out, shop.digest("user-1"))
    happened = shop.events(20)
    async with shop.updater():
        await shop.send(happened)
        await shop.handled()
    others = [one for one in happened if one.user_id != "user-1"]
    assert (await shop.rows(one.user_id for one in happened)).equals(shop.recount(others))
    assert shop.logged() == sorted(one.event_id for one in others)
    assert await shop.client.get(shop.keys("user-1").shopper("user-1")) is None


async def test_a_shopper_with_a_seed_goes_on_from_what_was_known(shop: LiveShop) -> None:
    before = known_events(events(*(event("user-1", f"item-{number}", number) for number in range(5))), day(100))
    await shop.client.sadd(shop.keys("user-2").opted_out, shop.digest("user-2"))
    states = lines_of(before) | {"user-2": b"never\n"}
    assert await seed(shop.client, states, SHARDS, shop.digest) == (1, 0, 1)
    assert await seed(shop.client, states, SHARDS, shop.digest) == (0, 1, 1)
    async with shop.updater():
        await shop.send([shop.event(1, "user-1")])
        await shop.handled()
    assert (await shop.rows(["user-1"]))["event_count"].item() == 6


async def test_rows_are_stamped_later_each_time_also_when_the_clock_stands_still(shop: LiveShop) -> None:
    async with shop.updater(clock="as-of"):
        for number in range(3):
            await shop.send([shop.event(number, "user-1")])
            await shop.handled()
    assert (await shop.rows(["user-1"]))["event_count"].item() == 3
    async with shop.updater(clock="as-of"):
        await shop.send([shop.event(3, "user-1")])
        await shop.handled()
    assert (await shop.rows(["user-1"]))["event_count"].item() == 4
