"""What several unit tests stand on."""

from collections.abc import Iterator

import numpy as np
import pytest

from features.encode import Shopper, resolve
from services.ranking.ordering import OrderingModel, Ranker
from services.ranking.release import Release
from tests.tiny_shop import TinyShop, shoppers, tiny_shop


@pytest.fixture(scope="session")
def shop() -> TinyShop:
    """A shop of forty items."""
    return tiny_shop(seed=1)


@pytest.fixture(scope="session")
def model(shop: TinyShop) -> OrderingModel:
    """Its bundle in memory."""
    return shop.model()


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Torch without a thread pool: on tiny tensors its threads only wait for each other."""
    import torch  # noqa: PLC0415 - takes seconds, and most tests do without

    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


@pytest.fixture(scope="session")
def ranker(shop: TinyShop) -> Ranker:
    return Ranker(shop.ranker_text)


@pytest.fixture(scope="session")
def known(shop: TinyShop, model: OrderingModel) -> list[Shopper]:
    """Twenty shoppers about whom something is known; the first about whom only that."""
    frame = shoppers(shop.items, 20, np.random.default_rng(3))
    return [resolve(row, model.items) for row in frame.iter_rows(named=True)]


@pytest.fixture(scope="session")
def unknown(model: OrderingModel) -> Shopper:
    return resolve(None, model.items)


@pytest.fixture(scope="session")
def release(shop: TinyShop) -> Release:
    """The same as a ranking process holds it."""
    return shop.release()
