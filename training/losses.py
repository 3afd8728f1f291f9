"""The losses of both towers.

Shapes: Q queries, P positives, C sampled candidates, M negatives of one query, B pairs, D vector width.
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
    own_negatives: Tensor | None = None,
    own_negatives_mask: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy of each positive against the shared sampled candidates, with logQ correction and
    accidental-hit removal (Yi et al. 2019, RecSys, "Sampling-bias-corrected neural modeling").

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
        own_negatives: float [Q, M, D], hard negatives of each query alone, such as what was shown and let be; they
            stand beside the sample uncorrected.
        own_negatives_mask: bool [Q, M], False where there is none; needed with `own_negatives`.

    Returns:
        Scalar loss. A candidate that is any positive of the same query is masked out of that query's denominator.
    """
    chosen = queries[query_of]
    positive_scores = torch.einsum("pkd,pd->pk", chosen, positives).amax(dim=1) / temperature
    scores = torch.einsum("qkd,cd->qkc", queries, candidates).amax(dim=1) / temperature - candidate_log_q
    least = torch.finfo(scores.dtype).min
    hit = torch.zeros_like(scores, dtype=torch.bool)
    matches = positive_ids[:, None] == candidate_ids[None, :]
    true = torch.tensor(True, device=hit.device)
    hit.index_put_((query_of[:, None].expand_as(matches)[matches], matches.nonzero()[:, 1]), true)
    if query_ids is not None:
        hit |= query_ids[:, None] == candidate_ids[None, :]
    logits = [positive_scores[:, None], scores.masked_fill(hit, least)[query_of]]
    if own_negatives is not None and own_negatives_mask is not None:
        own = torch.einsum("qkd,qmd->qkm", queries, own_negatives).amax(dim=1) / temperature
        logits.append(own.masked_fill(~own_negatives_mask, least)[query_of])
    target = torch.zeros(len(positive_ids), dtype=torch.int64, device=scores.device)
    return functional.cross_entropy(torch.cat(logits, dim=1), target)


def log_inclusion(expected: Tensor) -> Tensor:
    """ln of the chance that something expected `expected` times is drawn at least once (Poisson), float [N]."""
    return torch.log(-torch.expm1(-expected.double().clamp(min=1e-12))).float()


def in_batch_softmax(anchors: Tensor, positives: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of each anchor's own positive among the batch's positives, nothing masked, one direction
    (Henderson et al. 2017, "Efficient natural language response suggestion"; sentence-transformers calls it
    MultipleNegativesRankingLoss, its scale is 1 / temperature).

    Args:
        anchors: float [B, D], unit length.
        positives: float [B, D], unit length.
        temperature: Divides the cosines.
    """
    target = torch.arange(len(anchors), device=anchors.device)
    return functional.cross_entropy(anchors @ positives.T / temperature, target)
