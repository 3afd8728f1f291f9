"""Sampled softmax against loops, and against the full softmax that it stands in for."""

import math
from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.strategies import unhurried
from training.losses import sampled_softmax

WIDTH = 4


class Batch(NamedTuple):
    """The arguments of `sampled_softmax`, in its order."""

    queries: Tensor
    query_of: Tensor
    positives: Tensor
    positive_ids: Tensor
    candidates: Tensor
    candidate_ids: Tensor
    candidate_log_q: Tensor
    temperature: float = 1.0
    query_ids: Tensor | None = None


def random_batch(seed: int, query_count: int, interest_count: int, item_count: int) -> Batch:
    """Some positives of every query, and some of the items as candidates, positives among them."""
    generator = torch.Generator().manual_seed(seed)
    items = torch.randn(item_count, WIDTH, generator=generator)
    pairs = [
        (query, item)
        for query in range(query_count)
        for item in torch.randperm(item_count, generator=generator)[: 1 + query % 3].tolist()
    ]
    query_of, positive_ids = torch.tensor(pairs).T
    candidate_ids = torch.randperm(item_count, generator=generator)[: 1 + seed % item_count]
    log_q = torch.log(torch.rand(len(candidate_ids), generator=generator).clamp(min=0.05))
    queries = torch.randn(query_count, interest_count, WIDTH, generator=generator)
    return Batch(queries, query_of, items[positive_ids], positive_ids, items[candidate_ids], candidate_ids, log_q)


def score(interests: Tensor, vector: Tensor) -> float:
    """Largest dot product."""
    products = [sum(a * b for a, b in zip(interest, vector.tolist(), strict=True)) for interest in interests.tolist()]
    return float(max(products))


def loop_loss(batch: Batch) -> float:
    """One positive and one candidate at a time."""
    losses = []
    own = {query: {item} for query, item in enumerate([] if batch.query_ids is None else batch.query_ids.tolist())}
    for query, item in zip(batch.query_of.tolist(), batch.positive_ids.tolist(), strict=True):
        own.setdefault(query, set()).add(item)
    for place, query in enumerate(batch.query_of.tolist()):
        positive = score(batch.queries[query], batch.positives[place]) / batch.temperature
        others = [
            score(batch.queries[query], batch.candidates[c]) / batch.temperature - batch.candidate_log_q[c].item()
            for c, item in enumerate(batch.candidate_ids.tolist())
            if item not in own[query]
        ]
        losses.append(math.log(math.exp(positive) + sum(math.exp(other) for other in others)) - positive)
    return sum(losses) / len(losses)


@unhurried
@given(
    seed=st.integers(0, 10_000),
    query_count=st.integers(1, 6),
    interest_count=st.integers(1, 3),
    item_count=st.integers(1, 12),
    temperature=st.sampled_from([0.5, 1.0, 2.0]),
    queries_are_items=st.booleans(),
)
def test_the_loss_is_what_loops_compute(
    *, seed: int, query_count: int, interest_count: int, item_count: int, temperature: float, queries_are_items: bool
) -> None:
    batch = random_batch(seed, query_count, interest_count, item_count)._replace(temperature=temperature)
    if queries_are_items:
        batch = batch._replace(query_ids=torch.arange(query_count) % item_count)
    assert sampled_softmax(*batch).item() == pytest.approx(loop_loss(batch), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("interest_count", [1, 3])
def test_with_every_item_sampled_for_certain_it_is_the_full_softmax(interest_count: int) -> None:
    batch = random_batch(7, 5, interest_count, 9)
    generator = torch.Generator().manual_seed(1)
    items = torch.randn(9, WIDTH, generator=generator)
    everything = batch._replace(
        positives=items[batch.positive_ids],
        candidates=items,
        candidate_ids=torch.arange(9),
        candidate_log_q=torch.zeros(9),
    )
    logits = torch.einsum("qkd,nd->qkn", batch.queries, items).amax(dim=1)[batch.query_of]
    for place, (query, item) in enumerate(zip(batch.query_of.tolist(), batch.positive_ids.tolist(), strict=True)):
        siblings = batch.positive_ids[batch.query_of == query]
        logits[place, siblings[siblings != item]] = -torch.inf
    expected = torch.nn.functional.cross_entropy(logits, batch.positive_ids)
    assert sampled_softmax(*everything).item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_candidate_that_is_rarely_sampled_stands_for_the_many_like_it() -> None:
    """One of two equal items sampled half the time weighs as much as both sampled always."""
    query, item = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[0.3, 0.7]])
    positive = (query, torch.tensor([0]), torch.tensor([[0.9, 0.1]]), torch.tensor([99]))
    both = sampled_softmax(*positive, item.repeat(2, 1), torch.tensor([1, 2]), torch.zeros(2))
    half = sampled_softmax(*positive, item, torch.tensor([1]), torch.tensor([0.5]).log())
    assert half.item() == pytest.approx(both.item(), rel=1e-6)


def test_an_accidental_hit_neither_counts_nor_gets_a_gradient() -> None:
    batch = random_batch(3, 1, 2, 6)._replace(query_of=torch.tensor([0, 0]))
    generator = torch.Generator().manual_seed(2)
    candidates = torch.randn(3, WIDTH, generator=generator, requires_grad=True)
    batch = batch._replace(
        positives=torch.randn(2, WIDTH, generator=generator),
        positive_ids=torch.tensor([4, 5]),
        candidates=candidates,
        candidate_ids=torch.tensor([4, 1, 5]),
        candidate_log_q=torch.zeros(3),
    )
    loss = sampled_softmax(*batch)
    torch.autograd.backward(loss)
    gradient = candidates.grad
    assert gradient is not None
    assert gradient[[0, 2]].abs().max() == 0
    assert gradient[1].abs().max() > 0


def test_an_item_is_no_candidate_against_itself() -> None:
    items = torch.eye(3, WIDTH)
    pair = (items[:1, None], torch.tensor([0]), items[1:2], torch.tensor([1]))
    others = (items, torch.arange(3), torch.zeros(3))
    loss = sampled_softmax(*pair, *others, query_ids=torch.tensor([0]))
    assert loss.item() == pytest.approx(math.log(2))


def test_when_only_accidental_hits_were_sampled_there_is_nothing_to_learn() -> None:
    batch = random_batch(0, 1, 1, 5)
    batch = batch._replace(candidates=batch.positives, candidate_ids=batch.positive_ids, candidate_log_q=torch.zeros(1))
    assert sampled_softmax(*batch).item() == 0.0
