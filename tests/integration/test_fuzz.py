"""Hundreds of generated requests over a real socket; tests/acceptance/ranking_fuzz.py sends a hundred thousand."""

from collections import Counter

import grpc
import polars as pl

from features import bundle as files
from tests.integration.tiny_service import RunningService, TinyShopOnDisk
from tests.raw_calls import DOCUMENTED, KINDS, Answer, Call, ask_all
from tests.request_corpus import continuations, corpus, drawn
from tests.request_strategies import Words, damaged_requests

SEED = 1
CALLS = 800
DAMAGED_OF_A_KIND = 120


def words_of(shop: TinyShopOnDisk) -> Words:
    return Words.of_shop(pl.read_parquet(shop.bundle.path(files.ITEMS)), shop.users["user_id"].to_list(), {})


async def answers(ranking: RunningService, calls: list[Call]) -> Counter[grpc.StatusCode]:
    """How often each status came; fails where one is not documented."""
    codes: Counter[grpc.StatusCode] = Counter()

    def hear(call: Call, answer: Answer) -> None:
        codes[answer.code] += 1
        assert answer.code in DOCUMENTED, f"{answer} to {call.method} {call.payload.hex()}"

    await ask_all(ranking.address, calls, hear)
    assert codes.total() == len(calls)
    return codes


async def test_whatever_is_asked_the_status_is_a_documented_one(
    served_shop: TinyShopOnDisk, ranking: RunningService
) -> None:
    words = words_of(served_shop)
    paged = await continuations(ranking.address, words, 40, SEED)
    codes = await answers(ranking, corpus(words, paged, CALLS, SEED))
    assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED}
    assert codes[grpc.StatusCode.OK] > CALLS / 5, "the fuzz is shallow"


async def test_damaged_bytes_are_the_callers_fault_or_none(
    served_shop: TinyShopOnDisk, ranking: RunningService
) -> None:
    words = words_of(served_shop)
    calls = [
        Call(name, payload)
        for name, kind in KINDS.items()
        for payload in drawn(damaged_requests(kind, words), DAMAGED_OF_A_KIND, SEED)
    ]
    codes = await answers(ranking, calls)
    assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED}
    assert codes[grpc.StatusCode.INVALID_ARGUMENT] > codes.total() / 4
