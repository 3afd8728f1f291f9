"""What a purge does first and what later, and that repeating it after a crash ends it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from aisle.v1 import event_service_pb2 as messages

from features.shopper_digest import shopper_digest
from services.common.errors import InvalidField, NotServed, Unavailable
from services.common.streams import Unavailable as StoreDoesNotAnswer
from services.ingest.privacy import requests
from services.ingest.privacy.audit import FILE, AuditLog
from services.ingest.privacy.opt_outs import OptOuts
from services.ingest.privacy.requests import Parts, Privacy
from services.ingest.privacy.shopper import Shopper, Shoppers

NOW = datetime(2026, 5, 1, tzinfo=UTC)
REQUEST = messages.PurgeUserRequest(user_id="ada", visitor_id="visitor-1")
ORDER = ["forget past", "take [3]", "stream", "online_store", "event_files", "give back", "offline_files", "rewrite"]


@dataclass
class Script:
    """What was done, in order; the step named by `fails` fails once."""

    done: list[str] = field(default_factory=list)
    fails: str = ""

    def do(self, step: str) -> None:
        """One step."""
        if step == self.fails:
            self.fails = ""
            raise StoreDoesNotAnswer(step)
        self.done.append(step)


class FakeStore:
    """Two records of a shopper, until they are removed."""

    def __init__(self, name: str, script: Script) -> None:
        self.name, self._script, self._records = name, script, 2

    async def count(self, _: Shopper) -> int:
        return self._records

    async def remove(self, _: Shopper) -> int:
        self._script.do(self.name)
        removed, self._records = self._records, 0
        return removed

    async def shards_of(self, _: Shopper) -> set[int]:
        return {3}


class FakeOptOuts:
    """Says what it is asked to."""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def forget_past(self, *_: object) -> None:
        self._script.do("forget past")

    async def add(self, _: Shopper) -> None:
        self._script.do("leave out")


class FakeHandover:
    """Says who holds what."""

    def __init__(self, script: Script) -> None:
        self._script = script

    @asynccontextmanager
    async def holding(self, shards: set[int]) -> AsyncIterator[None]:
        self._script.do(f"take {sorted(shards)}")
        try:
            yield
        finally:
            self._script.do("give back")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    script = Script()

    async def rewrite(*_: Any) -> None:
        script.do("rewrite")

    monkeypatch.setattr(requests, "rewrite", rewrite)
    return script


@pytest.fixture
def privacy(script: Script, tmp_path: Path) -> Privacy:
    store: Callable[[str], Any] = partial(FakeStore, script=script)
    nothing: Any = None
    opt_outs: Any = FakeOptOuts(script)
    handover: Any = FakeHandover(script)
    parts = Parts(
        shoppers=Shoppers(partial(shopper_digest, b"key")),
        streams=store("stream"),
        online=store("online_store"),
        fed_by_updaters=[store("event_files")],
        others=[store("offline_files")],
        opt_outs=opt_outs,
        handover=handover,
        exports=nothing,
        audit=AuditLog(tmp_path),
        client=nothing,
        now=lambda: NOW,
    )
    return Privacy(parts)


async def test_the_inflow_stops_before_stores_are_cleaned_and_the_servers_log_is_made_anew_last(
    privacy: Privacy, script: Script, tmp_path: Path
) -> None:
    reply = await privacy.purge_user(REQUEST)
    assert script.done == ORDER
    assert [(store.removed_count, store.remaining_count) for store in reply.stores] == [(2, 0)] * 4
    assert reply.purge_time.ToDatetime(UTC) == NOW
    assert reply.audit_hash == shopper_digest(b"key", "ada")
    assert not any(name in (tmp_path / FILE).read_text() for name in ("ada", "visitor-1"))


@pytest.mark.parametrize("step", ORDER)
async def test_whatever_fails_is_unavailable_and_repeating_it_ends_it(
    privacy: Privacy, script: Script, step: str, tmp_path: Path
) -> None:
    script.fails = step
    with pytest.raises(Unavailable):
        await privacy.purge_user(REQUEST)
    assert not (tmp_path / FILE).exists(), "nothing is proved yet"
    script.done.clear()
    reply = await privacy.purge_user(REQUEST)
    assert script.done == ORDER
    assert [store.remaining_count for store in reply.stores] == [0] * 4


async def test_an_audit_log_that_cannot_be_written_is_named_and_the_request_may_be_repeated(
    privacy: Privacy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(Unavailable, match=rf"{FILE}: .*[Ii]s a directory"):
        await privacy.purge_user(REQUEST)
    [line] = [record for record in caplog.records if record.name == requests.__name__]
    assert FILE in vars(line)["reason"]
    (tmp_path / FILE).rmdir()
    assert (await privacy.purge_user(REQUEST)).stores


async def test_a_list_of_who_is_left_out_that_is_damaged_or_on_a_full_disk_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing: Any = None
    shopper, opt_outs = Shoppers(str).of(REQUEST), OptOuts(nothing, 0, tmp_path)

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(pl.DataFrame, "write_parquet", full_disk)
        with pytest.raises(StoreDoesNotAnswer, match=r"left_out: .*No space left"):
            await opt_outs.forget_past(shopper, NOW)
    await opt_outs.forget_past(shopper, NOW)
    [path] = tmp_path.rglob("*.parquet")
    path.write_bytes(b"PAR1 and no more")
    for change in (opt_outs.forget_past(shopper, NOW), opt_outs.add(shopper)):
        with pytest.raises(StoreDoesNotAnswer, match=path.name):
            await change


async def test_opting_out_stops_the_inflow_first(privacy: Privacy, script: Script) -> None:
    await privacy.set_opt_out(messages.SetOptOutRequest(visitor_id="visitor-1", opted_out=True))
    assert script.done == ["leave out", "take [3]", "stream", "online_store", "give back"]


async def test_a_request_that_is_not_as_it_must_be_does_nothing(privacy: Privacy, script: Script) -> None:
    with pytest.raises(InvalidField, match="user_id"):
        await privacy.purge_user(messages.PurgeUserRequest())
    with pytest.raises(InvalidField, match="user_id"):
        await privacy.set_opt_out(messages.SetOptOutRequest(user_id="a" * 129))
    with pytest.raises(InvalidField, match="page_size"):
        await privacy.export_user(messages.ExportUserRequest(user_id="ada", page_size=1001))
    with pytest.raises(NotServed, match="tenant"):
        await privacy.purge_user(messages.PurgeUserRequest(user_id="ada", tenant="elsewhere"))
    assert script.done == []
