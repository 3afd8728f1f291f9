"""What a run's workers say of themselves, put together. Speaks to them through Locust's runner."""

import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import gevent
import polars as pl

from loadtest.figures import DEFERRED, FAILED
from loadtest.plan import Plan
from loadtest.recording import CALLS, FRESHNESS, RunFacts
from loadtest.worker import rows_of

_JOIN_SECONDS = 120.0
_POLL_SECONDS = 0.05


class GeneratorError(Exception):
    """The run could not be made, or not as it was asked for."""


class Reports:
    """All reports of one run."""

    def __init__(self, runner: Any, workers: int) -> None:
        """Listen.

        Args:
            runner: Locust's, of this process alone or a master's.
            workers: how many there will be.
        """
        self._runner, self._workers = runner, workers
        self._frames = [CALLS.to_frame()]
        self._ready, self._finished = set[str](), dict[str, Any]()
        self._refused: str | None = None
        self._ended_early = False
        for name in ("ready", "refused", "calls", "finished"):
            runner.register_message(name, getattr(self, f"_on_{name}"))

    def _on_ready(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - Locust gives both by name
        self._ready.add(msg.node_id)

    def _on_refused(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - as above
        self._refused = msg.data

    def _on_calls(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - as above
        self._frames.append(rows_of(msg.data))

    def _on_finished(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - as above
        self._finished[msg.node_id] = msg.data

    def end_early(self) -> None:
        """Have no more visits let in, and the run end."""
        self._ended_early = True
        self._runner.send_message("over")

    def wait_joined(self, plan: Plan) -> None:
        """Tell all workers the plan, and wait until they are ready to begin.

        Raises:
            GeneratorError: one did not come or could not prepare, or the run was ended before it began.
        """
        deadline = time.monotonic() + _JOIN_SECONDS
        self._wait(lambda: len(self._present()) == self._workers, deadline)
        self._runner.send_message("plan", asdict(plan))
        self._wait(lambda: self._ready <= self._present() and len(self._ready) == self._workers, deadline)

    def _wait(self, condition: Callable[[], bool], deadline: float) -> None:
        while not condition():
            if self._refused:
                raise GeneratorError(self._refused)
            if self._ended_early:
                raise GeneratorError("ended before it began")
            if time.monotonic() > deadline:
                came, ready = len(self._present()), len(self._ready)
                raise GeneratorError(f"of {self._workers} workers {came} came and {ready} got ready")
            gevent.sleep(_POLL_SECONDS)

    def wait_finished(self) -> set[str]:
        """Wait until every worker has made its last report. Once one is lost, the others end early.

        Returns:
            Names of those that were lost.
        """
        lost = set[str]()
        while not self._ready <= lost | self._finished.keys():
            gevent.sleep(_POLL_SECONDS)
            if gone := self._ready - self._present() - self._finished.keys() - lost:
                lost |= gone
                self.end_early()
        return lost

    def _present(self) -> set[str]:
        """The workers from which Locust has heard lately."""
        clients = getattr(self._runner, "clients", None)
        if clients is None:
            return {"local"}
        return {client.id for client in clients.all if client.state != "missing"}

    def calls(self) -> pl.DataFrame:
        """CALLS of all workers."""
        return pl.concat(self._frames).sort("done_s")

    def facts(self, plan: Plan, began: float) -> RunFacts:
        """What the run was."""
        profile = plan.rates()
        ends = [max(report["ended"], 0.0) for report in self._finished.values()]
        if thrown_out := sum(report["thrown_out"] for report in self._finished.values()):
            print(f"{thrown_out} visits had not ended long after the run had, and were broken off", file=sys.stderr)
        return RunFacts(
            environment=plan.environment,
            profile=plan.profile,
            target=plan.ranking,
            started=datetime.fromtimestamp(began, UTC).isoformat(),
            warm_up_seconds=profile.warm_up_seconds,
            seconds=min([profile.seconds, *ends]),
            visits_per_second=profile.mean_rate(plan.visits_per_second),
            seed=plan.seed,
            workers=plan.workers,
            generator_cpu_share=max((report["cpu_share"] for report in self._finished.values()), default=0.0),
            late_p99_ms=late_p99_ms(self.calls(), profile.warm_up_seconds),
        )


def late_p99_ms(calls: pl.DataFrame, from_s: float) -> float:
    """By how much calls due after `from_s` were sent too late, by the generator's own fault; 0 where there are none."""
    judged = calls.filter(pl.col("due_s") >= from_s, pl.col("method") != FRESHNESS)
    late = judged.select(pl.col("sent_s") - pl.col("due_s")).to_series().quantile(0.99)
    return 0.0 if late is None else max(late, 0.0) * 1e3


def summary(calls: pl.DataFrame, facts: RunFacts) -> str:
    """A line for whoever watches."""
    failed, deferred = calls.filter(FAILED).height, calls.filter(DEFERRED).height
    return (
        f"{calls.height:,} calls in {facts.seconds:.0f} s, {failed:,} failed, {deferred:,} deferred; "
        f"the generator used {facts.generator_cpu_share:.0%} of a core and was {facts.late_p99_ms:.1f} ms late (p99)"
    )
