"""Traces by flag: one span per call, as a child of the caller's, for whoever works on the call to add to.

Choices: OpenTelemetry is an optional extra, imported (spans.py) only where traces are asked for; where they are not,
a call costs nothing but a look at a variable of its task. Knows nothing of any service.
"""

import asyncio
import importlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from services.common.settings import ServiceSettings, SettingsError

Attribute = str | int | float | Sequence[str]


class CallSpan(Protocol):
    """The span of the call that is being worked on."""

    def describe(self, attributes: Mapping[str, Attribute]) -> None:
        """Say what the call is about; never whom."""

    def step(self, name: str, started: float, ended: float, attributes: Mapping[str, Attribute]) -> None:
        """Add a span below it, from one time of `time.perf_counter` to another."""


CURRENT: ContextVar[CallSpan | None] = ContextVar("call_span", default=None)
"""The span of the call that this task works on; None where it is not traced."""


@asynccontextmanager
async def tracing(settings: ServiceSettings) -> AsyncIterator[Sequence[Any]]:
    """The interceptors of the traces that the settings ask for; what they have recorded is sent on leaving, for
    which there are `drain_seconds`.

    Raises:
        SettingsError: traces are asked for, and OpenTelemetry is not installed.
    """
    if settings.traces == "none":
        yield ()
        return
    try:
        spans = importlib.import_module("services.common.spans")
    except ImportError as error:
        needs = "needs the extra `tracing` (pip install 'aisle[tracing]')"
        raise SettingsError(f"AISLE_TRACES={settings.traces} {needs}: {error}") from error
    recorder = spans.otlp_recorder()
    try:
        yield (spans.CallSpans(recorder.tracer),)
    finally:
        await asyncio.to_thread(recorder.close, settings.drain_seconds)
