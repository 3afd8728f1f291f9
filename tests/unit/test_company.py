"""The vectors to teach: drawn from histories as they were, and pointing at what comes next."""

import numpy as np
import pytest
import torch

from tests.shop import dataset, day, event, events, item, items
from tests.strategies import Row
from training.company import CompanyVectors, draw_histories, fit_company, latest_distinct
from training.config import VECTOR_SIZE, CompanyConfig
from training.dataset import Sequences, Texts, sequences
from training.loop import Surroundings
from training.pairs import Impressions

pytestmark = pytest.mark.usefixtures("one_thread")

IDS = ["COW-MILK", "OAT-MILK", "RYE-BREAD", "TEA"]
CATALOGUE = items(*(item(name) for name in IDS))
TEXTS = Texts([name.lower() for name in IDS], np.arange(4))


def arrays(*happened: Row) -> Sequences:
    """The sequences of a few events."""
    return sequences(dataset(events(*happened), CATALOGUE), CATALOGUE, day(100))


def test_the_latest_distinct_items_come_newest_first() -> None:
    assert latest_distinct(np.array([1, 2, 3, 2, 4, 4]), 3) == [4, 2, 3]
    assert latest_distinct(np.array([], dtype=np.int64), 3) == []


@pytest.mark.parametrize("cut", ["session", "event"])
def test_a_history_ends_before_its_targets_and_targets_lie_within_their_days(cut: str) -> None:
    found = arrays(
        event("household-1", "TEA", 1, session_id="1", event_id="1"),
        event("household-1", "OAT-MILK", 1, session_id="1", event_id="2"),
        event("household-1", "RYE-BREAD", 5, session_id="2", event_id="3"),
        event("household-1", "COW-MILK", 50, session_id="3", event_id="4"),
    )
    config = CompanyConfig(batch_size=64, cut=cut, target_days=10.0, history_length=2)  # type: ignore[arg-type]
    drawn = draw_histories(found, config, np.random.default_rng(0))
    seen = {
        (
            tuple(IDS[row] for row in history if row >= 0),
            tuple(IDS[row] for row in drawn.targets[drawn.target_of == place]),
        )
        for place, history in enumerate(drawn.rows)
    }
    expected = {
        (("OAT-MILK", "TEA"), ("RYE-BREAD",)),
        (("RYE-BREAD", "OAT-MILK"), ("COW-MILK",)),
    }
    within = {(("TEA",), ("OAT-MILK", "RYE-BREAD"))}
    assert seen == expected | (within if cut == "event" else set())


def test_without_a_history_there_is_nothing_to_learn_and_nothing_breaks() -> None:
    found = arrays(event("household-1", "TEA", 1), event("household-2", "COW-MILK", 1))
    config = CompanyConfig(steps=3, batch_size=8)
    pooled = torch.randn(4, VECTOR_SIZE + 2, generator=torch.Generator().manual_seed(0))
    before = CompanyVectors(pooled).all()
    after = fit_company(pooled, TEXTS, found, config, np.random.default_rng(0), Surroundings())
    torch.testing.assert_close(after, before)


def test_what_follows_is_near_and_what_was_shown_and_let_be_is_far() -> None:
    """Oat milk is followed by rye bread; tea is as frequent and shown beside it, in vain."""
    happened = [
        event(f"household-{number}", name, on, session_id=f"{number}-{on}")
        for number in range(8)
        for on, name in ((1, "OAT-MILK"), (2, "RYE-BREAD"), (3, "OAT-MILK"), (4, "RYE-BREAD"))
    ]
    found = arrays(*happened)
    pooled = torch.randn(4, VECTOR_SIZE + 2, generator=torch.Generator().manual_seed(0))
    shown = Impressions(np.arange(9), np.full(8, IDS.index("TEA"), dtype=np.int32))
    cosines = {}
    for count in (0, 4):
        config = CompanyConfig(
            steps=40, batch_size=16, uniform_negatives=2, impression_negatives=count, temperature=0.3
        )
        vectors = fit_company(pooled, TEXTS, found, config, np.random.default_rng(0), Surroundings(), shown)
        cosine = vectors @ vectors.T
        assert cosine[1, 2] > max(cosine[1, 0], cosine[1, 3]) + 0.3
        cosines[count] = float(cosine[1, 3])
    assert cosines[4] < cosines[0] - 0.05


def test_a_text_without_events_keeps_what_its_embedding_says() -> None:
    pooled = torch.randn(4, VECTOR_SIZE + 2, generator=torch.Generator().manual_seed(0))
    pooled[0] = pooled[1]
    found = arrays(*(event(f"household-{n}", name, on) for n in range(4) for on, name in ((1, "OAT-MILK"), (2, "TEA"))))
    config = CompanyConfig(steps=20, batch_size=16, uniform_negatives=2, residual_decay=1.0)
    vectors = fit_company(pooled, TEXTS, found, config, np.random.default_rng(0), Surroundings())
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(4))
