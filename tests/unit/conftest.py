"""What several unit tests stand on."""

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
