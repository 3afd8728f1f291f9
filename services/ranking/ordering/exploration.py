"""Which of the little-known items are tried out: drawn at random, the likelier the better the ranker thinks of them.

A Plackett-Luce sample without replacement by Gumbel-perturbed scores (Kool, van Hoof, Welling, "Stochastic beams and
where to find them", ICML 2019). The seed is the recommendation's id, so a list can be computed again. Every item is
given the chance that it had, so that what is learnt from shoppers' answers can be weighed by it. Knows nothing of how
many places the items get.
"""

import hashlib
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from features.encode import Floats
from features.vocab import NO_ROWS, Rows
from services.ranking.ordering.rank import RankedList

_FURTHEST = 2.0
"""Standard deviations from the mean beyond which scores are taken for equal: a ranker's scores have long tails, and an
item far out in one would be drawn nearly every time, which tries out nothing."""


def drawn(ranked: RankedList, recommendation_id: str, left_out: Rows = NO_ROWS) -> RankedList:
    """All items of a list in an order drawn for this recommendation, with their propensities.

    Scores are taken relative to their standard deviation: an item one above another comes before it e times as often,
    and none e⁴ times as often as another.

    Args:
        ranked: Of distinct rows.
        recommendation_id: The seed.
        left_out: Rows that cannot be shown, int32: they are not drawn, though their scores count in the deviation.
    """
    seed = int.from_bytes(hashlib.blake2b(recommendation_id.encode(), digest_size=8).digest(), "little")
    noise = np.random.default_rng(seed).gumbel(size=ranked.rows.size)
    logits = _logits(ranked.scores)
    order = np.argsort(-(logits + noise), kind="stable")
    order = order[~np.isin(ranked.rows[order], left_out)]
    return replace(ranked.in_order(order), propensities=draw_chances(logits[order]))


def _logits(scores: Floats) -> Floats:
    """Standardised scores, float32 [n]."""
    if not scores.size:
        return scores
    standardised: Floats = (scores - scores.mean()) / (float(scores.std()) or 1.0)
    return standardised.clip(-_FURTHEST, _FURTHEST)


def draw_chances(logits: npt.NDArray[np.floating]) -> Floats:
    """The Plackett-Luce chance of each item to be drawn next, given those before it: softmax over what was left.

    Args:
        logits: [n], in the order in which the items were drawn; finite.

    Returns:
        float32 [n], in (0, 1]; the last is 1.
    """
    backwards = logits[::-1].astype(np.float64)
    left = np.logaddexp.accumulate(backwards)
    chances: Floats = np.exp(backwards - left)[::-1].astype(np.float32)
    return np.maximum(chances, np.finfo(np.float32).tiny)
