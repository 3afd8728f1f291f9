"""Back ends behind circuit breakers: while one keeps failing, the pipeline hears so at once instead of waiting."""

from collections.abc import Mapping
from typing import Any

from features.encode import Floats
from features.store import StoreUnavailable
from features.vocab import Rows
from services.common.breaker import Breaker, BreakerOpen
from services.common.scorer import Scorer, ScorerUnavailable
from services.common.towers import FloatArray, IntArray
from services.ranking.ordering import Mask
from services.ranking.pipeline import Users
from services.ranking.retriever import Retriever, RetrieverUnavailable

_NOT_ASKED = "not asked: it has failed too often of late"


class GuardedUsers:
    """`Users` behind a breaker."""

    def __init__(self, users: Users, breaker: Breaker) -> None:
        """Ask `users` while `breaker` lets calls pass."""
        self._users = users
        self._breaker = breaker

    async def read(self, user_id: str) -> Mapping[str, Any] | None:
        """See `Users.read`."""
        try:
            with self._breaker.attempt():
                return await self._users.read(user_id)
        except BreakerOpen:
            raise StoreUnavailable(_NOT_ASKED) from None


class GuardedScorer:
    """`Scorer` behind a breaker."""

    def __init__(self, scorer: Scorer, breaker: Breaker) -> None:
        """Ask `scorer` while `breaker` lets calls pass."""
        self._scorer = scorer
        self._breaker = breaker

    async def interest_vectors(
        self, history_vectors: FloatArray, event_types: IntArray, ages_days: FloatArray, timeout_seconds: float
    ) -> FloatArray:
        """See `Scorer.interest_vectors`."""
        try:
            with self._breaker.attempt():
                return await self._scorer.interest_vectors(history_vectors, event_types, ages_days, timeout_seconds)
        except BreakerOpen:
            raise ScorerUnavailable("breaker_open", _NOT_ASKED) from None

    async def text_vectors(self, texts: list[str], timeout_seconds: float) -> FloatArray:
        """See `Scorer.text_vectors`."""
        try:
            with self._breaker.attempt():
                return await self._scorer.text_vectors(texts, timeout_seconds)
        except BreakerOpen:
            raise ScorerUnavailable("breaker_open", _NOT_ASKED) from None

    async def ready(self, timeout_seconds: float = 1.0) -> bool:
        """See `Scorer.ready`; asked whatever the breaker says, as a probe of its own."""
        return await self._scorer.ready(timeout_seconds)


class GuardedRetriever:
    """`Retriever` behind a breaker."""

    def __init__(self, retriever: Retriever, breaker: Breaker) -> None:
        """Ask `retriever` while `breaker` lets calls pass."""
        self._retriever = retriever
        self._breaker = breaker

    async def nearest(self, interest_vectors: Floats, count: int, allowed: Mask, timeout_seconds: float) -> Rows:
        """See `Retriever.nearest`."""
        try:
            with self._breaker.attempt():
                return await self._retriever.nearest(interest_vectors, count, allowed, timeout_seconds)
        except BreakerOpen:
            raise RetrieverUnavailable(_NOT_ASKED) from None
