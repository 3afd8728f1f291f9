"""Any number of different calls of the ranking service, the same for the same seed.

Choices: one in twenty comes from hypothesis as drawn; the others are recombined from those, damaged, or go on with
lists that were really served. Most are careful: a fuzz whose requests are nearly all refused at the door tests the
door.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from aisle.v1 import recommendation_service_pb2 as messages
from google.protobuf.message import Message
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.strategies import SearchStrategy

from tests.raw_calls import KINDS, Answer, Call, ask_all
from tests.request_mutations import altered_token, crossed, damaged, forged_token
from tests.request_strategies import SHARED_FIELDS, Words, requests

Drawn = TypeVar("Drawn")

_METHODS = {"Recommend": 0.6, "Rank": 0.3, "BatchRecommend": 0.1}
_ONE_DRAWN_IN = 20
_CARELESS = 0.25
_PAGED_IN_BATCH = 0.2
_SHARES = {"crossed": 0.6, "careless": 0.1, "damaged": 0.23, "continued": 0.07}


def drawn(strategy: SearchStrategy[Drawn], count: int, seed: int) -> list[Drawn]:
    """About `count` examples, in the order in which hypothesis drew them."""
    found: list[Drawn] = []

    @seeded(seed)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def keep(example: Drawn) -> None:
        found.append(example)

    keep()
    return found


def corpus(words: Words, continuations: Sequence[messages.RecommendRequest], count: int, seed: int) -> list[Call]:
    """Calls in random order; no two with the same bytes.

    Args:
        words: What callers know of the shop.
        continuations: Requests with a page token that the service has given.
        count: How many calls.
        seed: Of everything random here.
    """
    rng = np.random.default_rng(seed)
    careful, careless = (_base(words, count, seed, careless=value) for value in (False, True))
    first = [
        (name, message.SerializeToString()) for base in (careful, careless) for name in base for message in base[name]
    ]
    methods = {payload: name for name, payload in first[:count]}
    while len(methods) < count:
        name = str(rng.choice(list(_METHODS), p=list(_METHODS.values())))
        way = str(rng.choice(list(_SHARES), p=list(_SHARES.values())))
        one = _any(careful[name], rng)
        if way == "continued" and continuations:
            page = _continued(_any(continuations, rng), rng)
            alone = rng.random() > _PAGED_IN_BATCH
            name = "Recommend" if alone else "BatchRecommend"
            payload = (page if alone else _beside(page, _any(continuations, rng))).SerializeToString()
        elif way == "damaged":
            payload = damaged(one.SerializeToString(), rng)
        else:
            other = _any((careless if way == "careless" else careful)[name], rng)
            payload = crossed(one, other, rng).SerializeToString()
        methods.setdefault(payload, name)
    calls = [Call(name, payload) for payload, name in methods.items()]
    return [calls[place] for place in rng.permutation(count)]


async def continuations(address: str, words: Words, count: int, seed: int) -> list[messages.RecommendRequest]:
    """Requests that go on with lists which the service has begun: those of `count` drawn ones that have a second
    page."""
    found: dict[bytes, messages.RecommendRequest] = {}

    def keep(call: Call, answer: Answer) -> None:
        token = messages.RecommendResponse.FromString(answer.reply).next_page_token
        if token:
            found[call.payload] = messages.RecommendRequest.FromString(call.payload)
            found[call.payload].page_token = token

    lists = drawn(requests(messages.RecommendRequest, words), count, seed)
    await ask_all(address, [Call("Recommend", request.SerializeToString()) for request in lists], keep)
    return [found[payload] for payload in sorted(found)]


def _base(words: Words, count: int, seed: int, *, careless: bool) -> dict[str, list[Message]]:
    share = (_CARELESS if careless else 1 - _CARELESS) / _ONE_DRAWN_IN
    return {
        name: drawn(requests(kind, words, careless=careless), max(int(count * share * _METHODS[name]), 2), seed)
        for name, kind in KINDS.items()
    }


def _continued(request: messages.RecommendRequest, rng: np.random.Generator) -> messages.RecommendRequest:
    """Another page of the list; three in four times with a token that is not the one given."""
    result = messages.RecommendRequest()
    result.CopyFrom(request)
    result.page_size = int(rng.integers(0, 101))
    match int(rng.integers(4)):
        case 0:
            result.page_token = altered_token(request.page_token, rng)
        case 1 | 2:
            result.page_token = forged_token(request.page_token, rng)
        case _:
            result.validate_only = bool(rng.random() < 0.1)
    return result


def _beside(request: messages.RecommendRequest, other: messages.RecommendRequest) -> messages.BatchRecommendRequest:
    """A batch of both, for the shopper of the first; the other begins afresh."""
    batch = messages.BatchRecommendRequest(requests=[request, other])
    batch.requests[1].ClearField("page_token")
    for name in SHARED_FIELDS:
        setattr(batch, name, getattr(request, name))
        batch.requests[1].ClearField(name)
    return batch


def _any(from_all: Sequence[Drawn], rng: np.random.Generator) -> Drawn:
    return from_all[int(rng.integers(len(from_all)))]
