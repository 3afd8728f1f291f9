"""Who comes to the shop of a load test, and what for."""

import shutil
from collections import Counter
from datetime import timedelta
from pathlib import Path
from random import Random

import numpy as np
import polars as pl
import pytest

from features import bundle as files
from features.bundle import Bundle, BundleError, write_bundle
from loadtest.population import SEARCH_RESULTS, STRANGERS, Population, Zipf
from tests.fake_aisle import ITEM_COUNT, ITEMS, SHOPPERS, population
from tests.shop import event, events, item, items
from tests.tiny_shop import AS_OF, write_shop_bundle

DRAWS = 60_000
NOWHERE = Path("/nowhere")
"""A cache that nothing is kept in."""


@pytest.fixture
def rng() -> Random:
    return Random(1)


def with_sensitive(bundle: Bundle, item_ids: list[str]) -> Path:
    """A copy of a bundle whose shop marked some items as sensitive."""
    with write_bundle(bundle.root.parent, "marked", {"as_of": bundle.as_of.isoformat()}) as root:
        shutil.copytree(bundle.root, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns(files.MANIFEST))
        table = pl.read_parquet(root / files.ITEMS).with_columns(sensitive=pl.col("item_id").is_in(item_ids))
        table.write_parquet(root / files.ITEMS)
    return bundle.root.parent / "marked"


def data_of(folder: Path, counts: dict[str, int], days_before: float = 1.0) -> str:
    """A shop's own files in which shoppers did so many things before the bundle was made; as a data spec."""
    happened = events(
        *(event(user, "item-1", number / 100) for user, count in counts.items() for number in range(count))
    )
    latest = AS_OF - timedelta(days=days_before)
    folder.mkdir()
    happened.with_columns(event_time=pl.lit(latest, happened.schema["event_time"])).write_parquet(
        folder / "events.parquet"
    )
    items(item("item-1", "bakery")).write_parquet(folder / "items.parquet")
    return f"parquet:{folder}"


def test_the_kth_comes_up_a_kth_as_often_as_the_first(rng: Random) -> None:
    places = Counter(Zipf(50).draw(rng) for _ in range(DRAWS))
    assert sorted(places) == list(range(50))
    harmonic = sum(1 / k for k in range(1, 51))
    for place in (0, 1, 4, 49):
        expected = DRAWS / harmonic / (place + 1)
        assert abs(places[place] - expected) < 5 * expected**0.5


def test_one_place_is_always_drawn(rng: Random) -> None:
    assert {Zipf(1).draw(rng) for _ in range(100)} == {0}


def test_the_first_shoppers_and_items_come_most_often(rng: Random) -> None:
    people = population()
    shoppers = Counter(people.shopper(rng) for _ in range(5_000))
    wanted = Counter(people.item(rng) for _ in range(5_000))
    assert shoppers.most_common(1)[0][0] == SHOPPERS[0]
    assert wanted.most_common(1)[0][0] == ITEMS["item_id"][0]
    assert set(shoppers) <= set(SHOPPERS)
    assert set(wanted) <= set(ITEMS["item_id"])


def test_the_same_seed_brings_the_same_people() -> None:
    people = population()

    def come() -> list[str]:
        rng = Random(5)
        return [draw(rng) for _ in range(50) for draw in (people.shopper, people.item, people.query)]

    assert come() == come()


def test_a_query_finds_what_has_the_word_the_most_popular_first(rng: Random) -> None:
    people = population()
    for _ in range(200):
        query = people.query(rng)
        having = ITEMS.filter(pl.col("title").str.to_lowercase().str.split(" ").list.contains(query))
        assert list(people.search(query)) == having["item_id"].to_list()[:SEARCH_RESULTS]


def test_a_search_hands_on_so_many_hits_and_no_more() -> None:
    count = SEARCH_RESULTS + 20
    many = pl.DataFrame(
        {
            "item_id": [f"item-{number}" for number in range(count)],
            "title": ["a cup, a cup"] * count,
            "price": [1.0] * count,
        }
    )
    assert list(Population.from_tables(["somebody"], many).search("cup")) == many["item_id"][:SEARCH_RESULTS].to_list()


def test_an_item_without_words_is_searched_by_its_id(rng: Random) -> None:
    nameless = pl.DataFrame({"item_id": ["4711"], "title": ["42 x"], "price": [None]})
    people = Population.from_tables(["somebody"], nameless)
    assert people.query(rng) == "4711"
    assert list(people.search("4711")) == ["4711"]
    assert list(people.search("unheard of")) == []


def test_prices_are_those_that_are_known() -> None:
    prices = population().prices
    assert "item-3" not in prices
    assert prices["item-4"] == 5.0


def test_items_come_from_the_bundle_by_popularity(tmp_path: Path) -> None:
    bundle = write_shop_bundle(tmp_path / "bundles", seed=1)
    ids = pl.read_parquet(bundle.path(files.ITEMS))["item_id"]
    by_rank = ids.gather(np.load(bundle.path(files.POPULARITY))).to_list()
    for path in (tmp_path / "bundles" / "serving", bundle.root):
        assert Population.of(path, None, NOWHERE).items == by_rank


def test_sensitive_items_are_nobodys_errand(tmp_path: Path) -> None:
    bundle = write_shop_bundle(tmp_path / "bundles", seed=1)
    everything = set(Population.of(bundle.root, None, NOWHERE).items)
    hidden = sorted(everything)[:7]
    assert set(Population.of(with_sensitive(bundle, hidden), None, NOWHERE).items) == everything - set(hidden)


def test_shoppers_come_from_the_data_the_most_active_first(tmp_path: Path) -> None:
    bundle = write_shop_bundle(tmp_path / "bundles", seed=1)
    data = data_of(tmp_path / "data", {"seldom": 1, "often": 9, "b": 4, "a": 4})
    assert Population.of(bundle.root, data, tmp_path / "cache").shoppers == ["often", "a", "b", "seldom"]


def test_without_data_strangers_come(tmp_path: Path) -> None:
    bundle = write_shop_bundle(tmp_path / "bundles", seed=1)
    assert len(set(Population.of(bundle.root, None, NOWHERE).shoppers)) == STRANGERS


def test_data_of_which_the_bundle_knows_nothing_is_refused_by_name(tmp_path: Path) -> None:
    bundle = write_shop_bundle(tmp_path / "bundles", seed=1)
    data = data_of(tmp_path / "data", {"later": 3}, days_before=-1.0)
    with pytest.raises(ValueError, match=f"{data}: nobody did anything before 2017-12-30"):
        Population.of(bundle.root, data, tmp_path / "cache")


def test_what_is_no_bundle_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=str(tmp_path)):
        Population.of(tmp_path, None, NOWHERE)


def test_nobody_and_nothing_are_no_population() -> None:
    with pytest.raises(ValueError, match=f"0 shoppers and {ITEM_COUNT} items"):
        Population.from_tables([], ITEMS)
    with pytest.raises(ValueError, match="30 shoppers and 0 items"):
        Population.from_tables(SHOPPERS, ITEMS.clear())
