"""One generator process's part in a run: hears the plan, makes the calls, reports them at the end.

Choices: reports are messages of Locust's own, so that the same code serves a process alone (where a message is a call)
and one of many, here or on another machine. Rows travel as Arrow's bytes.
"""

import gc
import io
import time
from collections import deque
from typing import Any

import gevent
import numpy as np
import polars as pl
from gevent.event import Event

from loadtest.arrivals import arrival_times
from loadtest.collector import Call, Collector
from loadtest.doors import Clock, Doors
from loadtest.freshness import PROBES_PER_SECOND
from loadtest.plan import Plan
from loadtest.recording import DEFERRED, OK
from loadtest.shopping import open_shop

BUSY_SECONDS = 5
"""Over how long the busiest time of a process is taken."""
_REPORTED_CALLS = 50_000
"""In one message."""
_LINGER_SECONDS = 15.0
"""How long, beyond a call's deadline, a visit may go on after the end; a probe of freshness takes ten."""
_VISITS, _ARRIVALS, _PROBES = range(3)


class Worker:
    """What a worker is told, and what it does then."""

    def __init__(self, environment: Any) -> None:
        """Listen.

        Args:
            environment: Locust's, with its runner.
        """
        self._environment, self._runner = environment, environment.runner
        self._clock, self._begun = Clock(), Event()
        self._doors: Doors | None = None
        environment.visits = self.run
        environment.events.request.add_listener(self._on_request)
        for name, listener in (("plan", self._on_plan), ("begin", self._on_begin), ("over", self._on_over)):
            self._runner.register_message(name, listener)

    def _on_plan(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - Locust gives both by name
        """Prepare all that takes time."""
        try:
            self._prepare(Plan(**msg.data))
        except Exception as error:  # whatever it is, the master must hear of it
            self._runner.send_message("refused", f"{type(error).__name__}: {error}")
        else:
            self._runner.send_message("ready")

    def _prepare(self, plan: Plan) -> None:
        index, profile = max(self._runner.worker_index, 0), plan.rates()
        self._collector = Collector(f"worker-{index}")
        self._linger_seconds = plan.timeout_seconds + _LINGER_SECONDS
        rng = np.random.default_rng([plan.seed, index, _ARRIVALS])
        self._arrivals = arrival_times(profile, plan.visits_per_second / plan.workers, rng)
        self._probes = np.arange(1.0, profile.seconds, 1.0 / PROBES_PER_SECOND) if index == 0 else np.empty(0)
        self._shopping = open_shop(plan, self._record, self._clock)
        self._seed = f"{plan.seed} {index}"
        self._doors = Doors(self._clock, seconds=profile.seconds, think_seconds=profile.think_seconds)
        gc.collect()
        gc.freeze()  # what a plan needs stays; a collection that looks at all of it would hold up every visitor

    def _on_begin(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - as above
        self._clock.set(msg.data)
        self._begun.set()

    def _on_over(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - as above
        if self._doors:
            self._doors.close()

    def _record(self, method: str, journey: str, due: float, sent: float, done: float, code: str, reply: Any) -> None:
        """Tell Locust of a call, and with it whoever listens."""
        self._environment.events.request.fire(
            request_type="gRPC",
            name=method,
            response_time=(done - due) * 1e3,
            response_length=0,
            exception=None if code in (OK, DEFERRED) else code,
            call=Call(method, journey, due, sent, done, code, reply),
        )

    def _on_request(self, call: Call, **_others: Any) -> None:
        self._collector.add(call)

    def run(self) -> None:
        """The whole run; also what is told of it when Locust kills the user that runs it."""
        self._begun.wait()
        assert self._doors is not None  # noqa: S101 - a run begins after its plan
        usage = Usage()
        watcher = gevent.spawn(usage.watch)
        left = Event()
        sender = gevent.spawn(self._shopping.deliver, left.is_set)
        try:
            if self._shopping.probe:
                gevent.spawn(self._doors.open, self._probes, self._shopping.probe, f"{self._seed} {_PROBES}")
            self._doors.open(self._arrivals, self._shopping.visit, f"{self._seed} {_VISITS}")
        finally:
            ended = self._clock()
            watcher.kill()
            self._doors.close()
            thrown_out = self._doors.empty(self._linger_seconds)
            left.set()
            sender.join()
            self._report()
            facts = {"cpu_share": usage.busiest(), "ended": ended, "thrown_out": thrown_out}
            self._runner.send_message("finished", facts)

    def _report(self) -> None:
        for rows in self._collector.calls().iter_slices(_REPORTED_CALLS):
            self._runner.send_message("calls", message_of(rows))
            gevent.sleep()


class Usage:
    """How busy this process is, of one core."""

    def __init__(self) -> None:
        """Begin to watch."""
        self._samples = deque([self._now()], maxlen=BUSY_SECONDS + 1)
        self._busiest: float | None = None

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    def watch(self) -> None:
        """Look at the clocks every second, until killed."""
        while True:
            gevent.sleep(1.0)
            self._samples.append(self._now())
            if len(self._samples) == self._samples.maxlen:
                self._busiest = max(self._busiest or 0.0, self._share(self._samples[-1]))

    def busiest(self) -> float:
        """The largest share in any BUSY_SECONDS on end; since the beginning, where that is not so long ago."""
        return self._share(self._now()) if self._busiest is None else self._busiest

    def _share(self, until: tuple[float, float]) -> float:
        began, used = self._samples[0]
        return (until[1] - used) / (until[0] - began)


def message_of(rows: pl.DataFrame) -> bytes:
    """CALLS as a message."""
    message = io.BytesIO()
    rows.write_ipc(message)
    return message.getvalue()


def rows_of(message: bytes) -> pl.DataFrame:
    """CALLS of a message."""
    return pl.read_ipc(io.BytesIO(message))
