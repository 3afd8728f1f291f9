"""AREA=quality: models that win, and the proof. Line numbers are those of the promises."""

from collections.abc import Callable, Mapping

from tests.acceptance.quality_cold import cold_start
from tests.acceptance.quality_compression import int8
from tests.acceptance.quality_gate import gate
from tests.acceptance.quality_growth import growth
from tests.acceptance.quality_lists import amazon_beauty, complete_journey
from tests.acceptance.quality_runs import repeatable
from tests.acceptance.quality_signals import signals
from tests.acceptance.quality_text import adapters, fine_tuning, speed
from tests.acceptance.rows import Row

LINES: Mapping[int, Callable[[], list[Row]]] = {
    1: complete_journey,
    2: amazon_beauty,
    3: fine_tuning,
    4: cold_start,
    5: signals,
    6: adapters,
    7: int8,
    8: speed,
    9: repeatable,
    10: growth,
    11: gate,
}
