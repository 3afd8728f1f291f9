"""Calls as they end, kept in columns until the run is over. Knows neither Locust nor the network.

Choices: what repeats (method, journey, status, bundle, degradations) is kept once and numbered, the rest goes into flat
arrays of numbers: a call costs microseconds and 200 bytes, and nothing is converted while calls are timed, since making
a frame of one second's calls holds everything up for milliseconds.
"""

from array import array
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from aisle.v1.recommendation_service_pb2 import Degradation

from loadtest.recording import CALLS

_PREFIX = "DEGRADATION_"


class Call(NamedTuple):
    """One call, as a shop tells of it; times in seconds since the run began."""

    method: str
    journey: str
    due: float
    sent: float
    done: float
    code: str
    """gRPC's name of the status."""
    reply: Any
    """The reply's message; None where there is none."""


class _Kind(NamedTuple):
    """What many calls have in common."""

    method: str
    journey: str
    code: str
    degradations: tuple[int, ...]
    bundle: str | None


class Collector:
    """All calls of one generator process."""

    def __init__(self, worker: str) -> None:
        """Begin with none.

        Args:
            worker: name of this generator, for the column `worker`.
        """
        self._worker = worker
        self._kinds: dict[_Kind, int] = {}
        self._stages: dict[str, int] = {}
        self._times = array("d")  # [calls x 3] due, sent, done
        self._kind = array("i")  # [calls] number of the kind
        self._stage_ends = array("q", [0])  # [calls + 1] where a call's stages begin
        self._stage = array("i")  # [stages of all calls] number of the name
        self._stage_ms = array("d")

    def add(self, call: Call) -> None:
        """Write a call down."""
        degradations, bundle = (), None
        reply = call.reply
        if hasattr(reply, "stage_timings_ms"):
            degradations, bundle = tuple(reply.degradations), reply.bundle_version or None
            for stage, ms in reply.stage_timings_ms.items():
                self._stage.append(self._stages.setdefault(stage, len(self._stages)))
                self._stage_ms.append(ms)
        kind = _Kind(call.method, call.journey, call.code, degradations, bundle)
        self._kind.append(self._kinds.setdefault(kind, len(self._kinds)))
        self._times.extend((call.due, call.sent, call.done))
        self._stage_ends.append(len(self._stage))

    def calls(self) -> pl.DataFrame:
        """CALLS of all that were added, in that order."""
        times = np.frombuffer(self._times).reshape(-1, 3)
        stages = pa.LargeListArray.from_arrays(np.frombuffer(self._stage_ends, np.int64), self._stage_structs())
        frame = pl.DataFrame(dict(zip(("due_s", "sent_s", "done_s"), times.T, strict=True)))
        frame = frame.hstack(self._kind_rows()[np.frombuffer(self._kind, np.int32)])
        frame = frame.with_columns(pl.Series("stages", pl.from_arrow(stages)), worker=pl.lit(self._worker))
        return frame.select(CALLS.names()).cast(CALLS)

    def _stage_structs(self) -> Any:
        names = pa.array([*self._stages], pa.large_string())
        stage = names.take(pa.array(np.frombuffer(self._stage, np.int32)))
        return pa.StructArray.from_arrays([stage, pa.array(np.frombuffer(self._stage_ms))], ["stage", "ms"])

    def _kind_rows(self) -> pl.DataFrame:
        """[kinds] the columns that a kind decides."""
        schema = {name: CALLS[name] for name in _Kind._fields}
        rows = [kind._replace(degradations=_names(kind.degradations)) for kind in self._kinds]
        return pl.DataFrame(rows, schema, orient="row")


def _names(degradations: tuple[int, ...]) -> Any:
    return tuple(Degradation.Name(number).removeprefix(_PREFIX) for number in degradations)
