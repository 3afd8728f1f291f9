"""A load test of a deployment that asks for TLS, certificates and keys."""

import asyncio
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest
from aisle.v1 import event_service_pb2 as events
from aisle.v1 import event_service_pb2_grpc as event_stubs
from prometheus_client import CollectorRegistry

from loadtest.access import Access, AccessError, add_access
from loadtest.recording import FRESHNESS, read_run
from services.common.keys import add_key
from services.common.server import running_server
from services.common.settings import ServiceSettings
from tests.certificates import Authority
from tests.fake_recommendations import FakeRecommendations


class _Events(event_stubs.EventServiceServicer):
    """Takes everything in."""

    async def WriteEvents(  # noqa: N802 - the rpc's name
        self,
        request: events.WriteEventsRequest,
        context: grpc.aio.ServicerContext[events.WriteEventsRequest, events.WriteEventsResponse],  # noqa: ARG002
    ) -> events.WriteEventsResponse:
        results = [
            events.EventResult(event_id=event.event_id, status=events.EVENT_STATUS_ACCEPTED) for event in request.events
        ]
        return events.WriteEventsResponse(accepted_count=len(results), results=results)


@asynccontextmanager
async def secured(folder: Path) -> AsyncIterator[tuple[str, Access]]:
    """Lists and events behind mutual TLS and a key: the address, and what lets a caller in."""
    authority = Authority(folder, "ca")
    server, client = authority.issue("server"), authority.issue("client")
    key = add_key(folder / "keys.json", "default", "load test")
    (folder / "key").write_text(f"{key}\n")
    lists = FakeRecommendations()

    def register(to: grpc.aio.Server) -> list[str]:
        event_stubs.add_EventServiceServicer_to_server(_Events(), to)
        return lists.register(to)

    settings = ServiceSettings(
        tls_certificate=server.certificate,
        tls_key=server.key,
        tls_client_ca=authority.certificate,
        api_keys=folder / "keys.json",
    )
    async with running_server(settings, 0, register, registry=CollectorRegistry()) as running:
        yield (
            running.address,
            Access(
                tls_ca=str(authority.certificate),
                tls_certificate=str(client.certificate),
                tls_key=str(client.key),
                api_key_file=str(folder / "key"),
            ),
        )


async def generated(address: str, out: Path, access: Access) -> subprocess.CompletedProcess[str]:
    words = ["--ranking", address, "--ingest", address, "--out", str(out), "--journeys", "home", "--bundle", "none"]
    words += ["--data", "none", "--rate-seconds", "5", "2", "--timeout", "20", *access.words()]
    command = [sys.executable, "-m", "loadtest.generator", *words]
    return await asyncio.to_thread(subprocess.run, command, check=False, capture_output=True, text=True)


async def test_lists_and_events_of_a_secured_deployment_are_asked_for_and_written(tmp_path: Path) -> None:
    async with secured(tmp_path) as (address, access):
        done = await generated(address, tmp_path / "run", access)
    assert done.returncode == 0, done.stderr
    calls, _, _ = read_run(tmp_path / "run")
    assert {"Recommend/HOME", "WriteEvents"} <= set(calls["method"])
    assert set(calls.filter(calls["method"] != FRESHNESS)["code"]) == {"OK"}


async def test_who_is_not_let_in_is_told_before_the_run(tmp_path: Path) -> None:
    async with secured(tmp_path) as (address, access):
        (tmp_path / "other").write_text("aisle_of-somebody-else")
        other = Access(**{**_files(access), "api_key_file": str(tmp_path / "other")})
        done = await generated(address, tmp_path / "run", other)
    assert done.returncode != 0
    assert f"{address}: UNAUTHENTICATED" in done.stdout + done.stderr


def test_the_words_of_an_access_say_the_same() -> None:
    parser, access = ArgumentParser(), Access(tls_ca="ca.pem", api_key_file="a key")
    add_access(parser)
    assert Access.of(parser.parse_args(access.words())) == access
    assert Access.of(parser.parse_args([])) == Access()


@pytest.mark.parametrize(
    ("access", "said"),
    [
        (Access(tls_ca="/nowhere/ca.pem"), "--tls-ca: /nowhere/ca.pem cannot be read (No such file or directory)"),
        (Access(tls_ca="ca", tls_key="key"), "--tls-certificate, --tls-key: one without the other"),
        (Access(tls_certificate="certificate", tls_key="key"), "--tls-certificate: needs --tls-ca"),
    ],
)
def test_what_cannot_be_used_is_named(access: Access, said: str) -> None:
    with pytest.raises(AccessError) as error:
        access.credentials()
    assert str(error.value) == said


def test_a_key_that_cannot_be_read_is_named() -> None:
    with pytest.raises(AccessError, match="--api-key-file: /nowhere cannot be read"):
        Access(api_key_file="/nowhere").api_key()


def _files(access: Access) -> dict[str, str | None]:
    return {
        "tls_ca": access.tls_ca,
        "tls_certificate": access.tls_certificate,
        "tls_key": access.tls_key,
    }
