"""The ranking service while what is behind it dies and comes back: it never stops answering, and says what it lacks."""

import os
import signal
from pathlib import Path

from services.common.process import free_port
from services.common.server import running_server
from services.ranking.ordering import NO_ROWS, popular, rank
from services.retrieval.app import RetrievalSettings, load_servicer, registration
from tests.integration.conftest import TRITON_VENV
from tests.integration.tiny_service import (
    NOW_US,
    RunningService,
    TinyShopOnDisk,
    assert_lists,
    degradations,
    running_service,
    until_undegraded,
)
from tests.tiny_shop import LIMITS, gathered

CALLER_SECONDS = 2.0
"""How long callers wait during an outage: less than any back end may take by the service's own settings."""


def counted(service: RunningService, degradation: str) -> float:
    return service.registry.get_sample_value("aisle_degradations_total", {"degradation": degradation}) or 0.0


async def test_triton_and_valkey_may_hang_and_die_and_come_back(tmp_path: Path) -> None:
    shop = TinyShopOnDisk(tmp_path)
    with shop.start_valkey() as valkey, shop.start_triton(TRITON_VENV) as triton:
        shop.materialise()
        async with running_service(shop.settings(), shop.release) as service:
            whole = shop.recommended("user-1", await shop.interest("user-1"))
            reply = await service.recommended_for("user-1")
            assert_lists(reply, whole, shop.release)
            assert degradations(reply) == []

            for call, end in enumerate((signal.SIGSTOP, signal.SIGKILL), start=1):
                os.kill(triton.pid, end)
                reply = await service.recommended_for("user-1", CALLER_SECONDS)
                assert_lists(reply, shop.recommended("user-1", shop.fallback("user-1")), shop.release)
                assert degradations(reply) == ["INTEREST_FALLBACK"]
                assert counted(service, "INTEREST_FALLBACK") == call
            triton.stop()

            for call, end in enumerate((signal.SIGSTOP, signal.SIGKILL), start=1):
                os.kill(valkey.pid, end)
                reply = await service.recommended_for("user-1", CALLER_SECONDS)
                assert_lists(reply, popular(shop.release.model, LIMITS.total), shop.release)
                assert degradations(reply) == ["USER_FEATURES_FALLBACK", "POPULARITY_ONLY"]
                assert counted(service, "USER_FEATURES_FALLBACK") == counted(service, "POPULARITY_ONLY") == call
            valkey.stop()

            with shop.start_valkey(), shop.start_triton(TRITON_VENV):
                reply = await until_undegraded(lambda: service.recommended_for("user-1"))
                assert_lists(reply, whole, shop.release)


async def test_a_retrieval_service_gives_the_same_lists_and_may_die_and_come_back(served_shop: TinyShopOnDisk) -> None:
    shop, port = served_shop, free_port()
    settings = RetrievalSettings(bundles=shop.settings().bundles)
    index = registration(load_servicer(settings))
    interest, shopper, release = await shop.interest("user-1"), shop.shopper("user-1"), shop.release
    together = release.model.item_to_item.ask(shopper)
    candidates = gathered(release.model, shopper, together, NO_ROWS, LIMITS)
    without_index = rank(release.model, release.rankers.all_items, shopper, candidates, interest, together, NOW_US)
    async with running_service(shop.settings(retrieval_address=f"127.0.0.1:{port}"), release) as service:
        for outage in (1, 2):
            reply = await service.recommended_for("user-1")
            assert_lists(reply, without_index, release)
            assert degradations(reply) == ["RETRIEVAL_FALLBACK"]
            assert counted(service, "RETRIEVAL_FALLBACK") >= outage
            async with running_server(settings, port, index):
                await until_undegraded(lambda: service.recommended_for("user-1"))
                for user_id in shop.users["user_id"]:
                    reply = await service.recommended_for(user_id)
                    assert_lists(reply, shop.recommended(user_id, await shop.interest(user_id)), release)


async def test_a_service_that_starts_with_nothing_behind_it_answers_all_the_same(tmp_path: Path) -> None:
    shop = TinyShopOnDisk(tmp_path)
    async with running_service(shop.settings(startup_wait_seconds=0), shop.release) as service:
        reply = await service.recommended_for("user-1")
        assert_lists(reply, popular(shop.release.model, LIMITS.total), shop.release)
        assert degradations(reply) == ["USER_FEATURES_FALLBACK", "POPULARITY_ONLY"]
