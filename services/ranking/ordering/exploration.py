"""Which of the little-known items are tried out: drawn at random, the likelier the better the ranker thinks of them.

A Plackett-Luce sample without replacement by Gumbel-perturbed scores (Kool, van Hoof, Welling, "Stochastic beams and
where to find them", ICML 2019). The seed is the recommendation's id, so a list can be computed again, and with it the
chance that every item had. Knows nothing of how many places the items get.
"""

import hashlib

import numpy as np

from services.ranking.ordering.rank import RankedList


def drawn(ranked: RankedList, recommendation_id: str) -> RankedList:
    """All items of a list in an order drawn for this recommendation.

    Scores are taken relative to their standard deviation: an item one above another comes before it e times as often.
    """
    if ranked.rows.size < 2:
        return ranked
    seed = int.from_bytes(hashlib.blake2b(recommendation_id.encode(), digest_size=8).digest(), "little")
    spread = float(ranked.scores.std()) or 1.0
    noise = np.random.default_rng(seed).gumbel(size=ranked.rows.size)
    return ranked.in_order(np.argsort(-(ranked.scores / spread + noise), kind="stable"))
