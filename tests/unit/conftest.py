"""What several unit tests stand on."""

from collections.abc import Iterator

import pytest

from services.ranking.ordering import OrderingModel
from tests.tiny_shop import TinyShop, tiny_shop


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
