"""AREA=ranking: the ranking service as a shop calls it. Line numbers are those of the promises."""

from collections.abc import Callable, Mapping

from tests.acceptance.ranking_answers import answers
from tests.acceptance.ranking_faults import faults
from tests.acceptance.ranking_fuzz import fuzz
from tests.acceptance.ranking_growth import growth
from tests.acceptance.ranking_join import feature_join
from tests.acceptance.ranking_overload import overload
from tests.acceptance.ranking_security import refusals
from tests.acceptance.ranking_speed import cost, latency
from tests.acceptance.ranking_swaps import swaps
from tests.acceptance.rows import Row

LINES: Mapping[int, Callable[[], list[Row]]] = {
    1: answers,
    2: latency,
    3: cost,
    4: feature_join,
    5: growth,
    6: faults,
    7: overload,
    8: swaps,
    9: fuzz,
    10: refusals,
}
