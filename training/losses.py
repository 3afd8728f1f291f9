"""Sampled softmax with logQ correction and accidental-hit removal (Yi et al. 2019, RecSys, "Sampling-bias-corrected
neural modeling").

Shapes: Q queries, P positives, C sampled candidates, D vector width.
"""

import torch
from torch import Tensor
from torch.nn import functional


def sampled_softmax(
    queries: Tensor,
    query_of: Tensor,
    positives: Tensor,
    positive_ids: Tensor,
    candidates: Tensor,
    candidate_ids: Tensor,
    candidate_log_q: Tensor,
    temperature: float | Tensor = 1.0,
    query_ids: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy of each positive against the shared sampled candidates.

    Args:
        queries: float [Q, K, D], K interest vectors per query; a pair's score is the largest over K.
        query_of: int64 [P], the query each positive belongs to.
        positives: float [P, D].
        positive_ids: int64 [P].
        candidates: float [C, D].
        candidate_ids: int64 [C].
        candidate_log_q: float [C], ln of the probability that the candidate is in the sample (Horvitz-Thompson).
        temperature: Divides the scores.
        query_ids: int64 [Q], the item that each query is, where it is one; an item is no candidate against itself.

    Returns:
        Scalar loss. A candidate that is any positive of the same query is masked out of that query's denominator.
    """
    chosen = queries[query_of]
    positive_scores = torch.einsum("pkd,pd->pk", chosen, positives).amax(dim=1) / temperature
    scores = torch.einsum("qkd,cd->qkc", queries, candidates).amax(dim=1) / temperature - candidate_log_q
    hit = torch.zeros_like(scores, dtype=torch.bool)
    matches = positive_ids[:, None] == candidate_ids[None, :]
    hit.index_put_((query_of[:, None].expand_as(matches)[matches], matches.nonzero()[:, 1]), torch.tensor(True))
    if query_ids is not None:
        hit |= query_ids[:, None] == candidate_ids[None, :]
    scores = scores.masked_fill(hit, torch.finfo(scores.dtype).min)
    logits = torch.cat([positive_scores[:, None], scores[query_of]], dim=1)
    target = torch.zeros(len(positive_ids), dtype=torch.int64)
    return functional.cross_entropy(logits, target)
