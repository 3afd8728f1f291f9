"""AREA=live: events and new items as a shop sends them. Line numbers are those of the promises."""

from collections.abc import Callable, Mapping

from tests.acceptance.live_backlog import backlog
from tests.acceptance.live_bad_input import bad_input
from tests.acceptance.live_forgotten import forgotten
from tests.acceptance.live_freshness import freshness
from tests.acceptance.live_kills import kills
from tests.acceptance.live_loop import closed_loop
from tests.acceptance.live_throughput import throughput
from tests.acceptance.rows import Row

LINES: Mapping[int, Callable[[], list[Row]]] = {
    1: kills,
    2: freshness,
    3: throughput,
    4: backlog,
    5: bad_input,
    6: forgotten,
    7: closed_loop,
}
