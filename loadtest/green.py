"""gRPC for greenlets: a call holds up only the greenlet that makes it.

Choices: gRPC keeps its own native threads and is asked for a future, whose end wakes the greenlet. gRPC's way with
gevent (`grpc.experimental.gevent`) hands every call that waits to a thread of a pool, which costs 30 to 140 us more of
CPU a call, of 240 to 390. So threads must not be patched in this process, unlike all else.
"""

from typing import Any, ClassVar

import gevent
import grpc
from gevent.hub import Waiter

from services.client import RecommendationClient


class GreenChannel:
    """A channel with unary calls, as a stub wants it."""

    def __init__(self, channel: grpc.Channel) -> None:
        """Args: channel: to be asked in greenlets of this thread only."""
        self._channel = channel
        self._awake = gevent.get_hub().loop.async_()
        self._awake.start(lambda: None)  # else gevent takes greenlets that wait for answers alone to wait for ever

    def unary_unary(self, *names: Any, **how: Any) -> Any:
        """As of a channel; what it returns can be called, and no more."""
        ask = self._channel.unary_unary(*names, **how)

        def call(request: Any, **options: Any) -> Any:
            return _outcome(ask.future(request, **options))

        return call

    def close(self) -> None:
        """As of a channel."""
        self._awake.stop()
        self._channel.close()


class GreenTransport:
    """Makes channels, as the module `grpc` does."""

    @staticmethod
    def insecure_channel(*where: Any) -> GreenChannel:
        """As `grpc.insecure_channel`."""
        return GreenChannel(grpc.insecure_channel(*where))

    @staticmethod
    def secure_channel(*where: Any) -> GreenChannel:
        """As `grpc.secure_channel`."""
        return GreenChannel(grpc.secure_channel(*where))


class GreenClient(RecommendationClient):
    """The client that front ends use, for greenlets."""

    _TRANSPORT: ClassVar[Any] = GreenTransport


def _outcome(future: Any) -> Any:
    """What a call returns or raises, waited for."""
    loop, waiter = gevent.get_hub().loop, Waiter()
    future.add_done_callback(lambda _: loop.run_callback_threadsafe(waiter.switch, None))
    try:
        waiter.get()
    except BaseException:
        future.cancel()
        raise
    return future.result()
