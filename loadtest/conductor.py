"""Conducts one run of Locust: workers, the beginning, the end, the files.

Choices: Locust as a library. One worker is this very process; several are processes that die with it, and machines may
be added. A run whose worker is lost is worth nothing: it ends at once, what there is is written, and the status is 1.
"""

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import gevent
from locust.env import Environment

from loadtest.plan import Conducting, Working
from loadtest.recording import write_run
from loadtest.reports import GeneratorError, Reports, summary
from loadtest.visitors import Visitors
from loadtest.worker import Worker
from services.common.process import ManagedProcess

SLEEPERS = 100
"""Threads that wait for the last millisecond before a page is due, each for one visit; gevent has ten."""
_LEAD_SECONDS = 0.5
"""From saying when time 0 is until it is."""


def conduct(options: Conducting) -> None:
    """One run, and its files.

    Raises:
        GeneratorError: a worker did not come, refused the plan, or was lost; in the last case the files are there.
    """
    gevent.get_hub().threadpool.maxsize = SLEEPERS
    with _running(options) as runner:
        reports = Reports(runner, options.plan.workers)
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, reports.end_early)
        reports.wait_joined(options.plan)
        began = time.time() + _LEAD_SECONDS
        runner.send_message("begin", began)
        print(json.dumps({"began": began}), flush=True)
        runner.start(options.plan.workers, spawn_rate=options.plan.workers)
        lost = reports.wait_finished()
        calls, facts = reports.calls(), reports.facts(options.plan, began)
        write_run(options.out, calls, facts)
        print(summary(calls, facts), file=sys.stderr)
    if lost:
        raise GeneratorError(f"lost on the way: {', '.join(sorted(lost))}; the run is not whole")


def work(options: Working) -> None:
    """Be a worker for one run."""
    gevent.get_hub().threadpool.maxsize = SLEEPERS
    environment = Environment(user_classes=[Visitors])
    runner = environment.create_worker_runner(options.master_host, options.master_port)
    Worker(environment)
    runner.greenlet.join()  # until the master says quit, or is silent for a minute


@contextmanager
def _running(options: Conducting) -> Iterator[Any]:
    """Locust's runner, and the workers of this machine."""
    environment = Environment(user_classes=[Visitors])
    with ExitStack() as stack:
        if options.plan.workers == 1 and not options.remote_workers:
            runner: Any = environment.create_local_runner()
            Worker(environment)
        else:
            runner = _start_workers(environment, options, stack)
        if options.web_ui is not None:
            del sys.argv[1:]  # Locust's pages take the command line for Locust's own
            stack.callback(environment.create_web_ui("127.0.0.1", options.web_ui).stop)
        stack.callback(runner.quit)
        yield runner


def _start_workers(environment: Any, options: Conducting, stack: ExitStack) -> Any:
    """A master, and as many workers of this machine as there should be; others come by themselves."""
    host, port = ("*", options.master_port) if options.remote_workers else ("127.0.0.1", 0)
    master = environment.create_master_runner(host, port)
    command = [sys.executable, "-m", "loadtest.generator", "--worker", "--master-port", str(master.server.port)]
    for number in range(options.plan.workers - options.remote_workers):
        stack.enter_context(ManagedProcess(f"worker {number}", command, death_signal=signal.SIGKILL))
    return master
