"""AREA=load: whether a load test tells a good build from a bad one, and what it says of a deployment's limits. Line
numbers are those of the promises."""

from collections.abc import Callable, Mapping

from tests.acceptance.load_bench import bench_page
from tests.acceptance.load_capacity import capacity
from tests.acceptance.load_generator import generator_speed, open_arrivals
from tests.acceptance.load_release import faults, gate, same_verdict
from tests.acceptance.rows import Row

LINES: Mapping[int, Callable[[], list[Row]]] = {
    1: gate,
    2: generator_speed,
    3: open_arrivals,
    4: faults,
    5: capacity,
    6: bench_page,
    7: same_verdict,
}
