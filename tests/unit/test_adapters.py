"""Data sources: each is found by its spec and gives a data set in the schema; a tiny grocer stands for the real one."""

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.adapters import ADAPTERS, AdapterError, cache, complete_journey, load, parquet
from features.adapters.complete_journey_text import name_of, readable, readable_size
from features.adapters.synthetic import config_of
from features.schema import TABLES, Dataset, SchemaError
from features.synthetic import SyntheticConfig, generate

EVENT_LINE = '{"event_id":"%s","user_id":"%s","item_id":"kettle","event_type":"view","event_time":"%s"}\n'


@pytest.fixture
def grocer(tmp_path: Path) -> Path:
    """Six products, seven lines of receipts, three stores, in the files of the package."""
    folder = tmp_path / "grocer"
    folder.mkdir()
    products = [
        (1, 69, "GROCERY", "FRUIT - SHELF STABLE", "APPLE SAUCE", "Private", "50 OZ"),
        (2, 7, "GROCERY", "ICE CREAM/MILK/SHERBTS", "PREMIUM", "National", None),
        (3, 7, "GROCERY", "BEERS/ALES", "BEERALEMALT LIQUORS", "National", "12 OZ"),
        (4, 7, "FUEL", "COUPON/MISC ITEMS", "GASOLINE-REG UNLEADED", "National", None),
        (5, 7, "GROCERY", "BAG SNACKS", "DIPS (NON-REFRIGERATED)", "National", "KIOSK16 OZ"),
        (6, 7, "FROZEN GROCERY", None, None, "National", None),
    ]
    names = ("product_id", "manufacturer_id", "department", "product_category", "product_type", "brand", "package_size")
    pl.DataFrame(products, schema=names, orient="row").write_parquet(folder / "products.parquet")
    receipts = [
        # household, basket, product, quantity, sales value, when
        (10, 100, 1, 2, 5.0, datetime(2017, 1, 3, 12)),  # noqa: DTZ001 - the package's times carry no zone
        (10, 100, 2, 1, 4.0, datetime(2017, 1, 3, 12)),  # noqa: DTZ001
        (10, 100, 4, 9, 20.0, datetime(2017, 1, 3, 12)),  # noqa: DTZ001
        (11, 101, 1, 1, 3.5, datetime(2017, 1, 2, 4, 59)),  # noqa: DTZ001 - Sunday night in New York
        (11, 101, 3, 0, 0.0, datetime(2017, 1, 2, 4, 59)),  # noqa: DTZ001
        (11, 101, 99, 1, 1.0, datetime(2017, 1, 2, 4, 59)),  # noqa: DTZ001
        (12, 102, 4, 9, 30.0, datetime(2017, 1, 4, 12)),  # noqa: DTZ001
    ]
    columns = ("household_id", "basket_id", "product_id", "quantity", "sales_value", "transaction_timestamp")
    pl.DataFrame(receipts, schema=columns, orient="row").write_parquet(folder / "transactions.parquet")
    stores = [
        # product, store, display, mailer, week; the second line twice
        (1, 1, "9", "0", 1),
        (1, 2, "9", "A", 1),
        (1, 2, "9", "A", 1),
        (2, 3, "0", "A", 1),
        (2, 1, "3", "0", 2),
        (4, 1, "3", "0", 2),
    ]
    columns_of_stores = ("product_id", "store_id", "display_location", "mailer_location", "week")
    pl.DataFrame(stores, schema=columns_of_stores, orient="row").write_parquet(folder / "promotions.parquet")
    pl.DataFrame({"coupon_upc": [1, 2], "product_id": [1, 1], "campaign_id": [8, 8]}).write_parquet(
        folder / "coupons.parquet"
    )
    pl.DataFrame({"campaign_id": [8, 8], "household_id": [10, 12]}).write_parquet(folder / "campaigns.parquet")
    pl.DataFrame(
        {"campaign_id": [8], "start_date": [datetime(2017, 3, 3)], "end_date": [datetime(2017, 4, 9)]}  # noqa: DTZ001
    ).write_parquet(folder / "campaign_descriptions.parquet")
    answers = {"household_id": [10], "age": ["65+"], "kids_count": ["0"], "home_ownership": [None]}
    others = ("income", "marital_status", "household_size", "household_comp")
    pl.DataFrame(answers | {name: ["?"] for name in others}).write_parquet(folder / "demographics.parquet")
    return folder


@pytest.fixture
def journey(grocer: Path, tmp_path: Path) -> Dataset:
    return complete_journey.load(grocer, tmp_path / "rejects")


def test_purchases_carry_who_what_when_and_the_price_of_one(journey: Dataset) -> None:
    assert journey.events.select("event_id", "user_id", "item_id", "quantity", "price", "session_id").rows() == [
        ("101-0", "11", "1", 1, 3.5, "101"),
        ("100-0", "10", "1", 2, 2.5, "100"),
        ("100-1", "10", "2", 1, 4.0, "100"),
    ]
    assert journey.events["event_type"].unique().to_list() == ["purchase"]
    assert journey.events["event_time"][0] == datetime(2017, 1, 2, 4, 59, tzinfo=UTC)
    assert journey.events.select(journey.calendar.week_expr("event_time")).to_series().to_list() == [1, 2, 2]


def test_lines_without_product_or_quantity_are_rejected_into_a_side_file(journey: Dataset, tmp_path: Path) -> None:
    rejects = pl.read_ndjson(tmp_path / "rejects" / "complete-journey-events.rejects.jsonl")
    assert rejects.select("row", "column").rows() == [(4, "quantity"), (5, "item_id")]
    assert '"product_id":99' in rejects["original"][1]


def test_fuel_and_kiosk_products_are_left_out_and_alcohol_is_sensitive(journey: Dataset) -> None:
    assert journey.items["item_id"].to_list() == ["1", "2", "3", "6"]
    assert journey.items.filter("sensitive")["item_id"].to_list() == ["3"]


def test_items_have_readable_text_and_a_median_price(journey: Dataset) -> None:
    sauce, ice_cream, _, unnamed = journey.items.rows(named=True)
    assert sauce["title"] == "Apple sauce, 50 oz"
    assert sauce["description"] == "Fruit, shelf stable. Grocery department. Store brand."
    assert sauce["category"] == ["Grocery", "Fruit, shelf stable", "Apple sauce"]
    assert (sauce["brand"], sauce["price"]) == ("Private-69", 3.0)
    assert sauce["attributes"][0] == {"key": "package_size", "value": "50 oz"}
    assert ice_cream["title"] == "Ice cream, milk, sherbets: premium"
    assert (unnamed["title"], unnamed["category"], unnamed["price"]) == (
        "Frozen grocery, other",
        ["Frozen grocery"],
        None,
    )


def test_reach_is_the_share_of_the_weeks_stores_or_of_all_households(journey: Dataset) -> None:
    found = journey.promotions.select("item_id", "kind", "reach").rows()
    third = pytest.approx(1 / 3)
    assert found == [
        ("1", "display", pytest.approx(2 / 3)),
        ("1", "mailer", third),
        ("2", "mailer", third),
        ("2", "display", 1.0),
        ("1", "coupon", pytest.approx(2 / 3)),
    ]
    week, coupon = journey.promotions.row(0, named=True), journey.promotions.row(-1, named=True)
    assert (week["start_time"], week["end_time"]) == (journey.calendar.week_end(0), journey.calendar.week_end(1))
    assert coupon["end_time"] == datetime(2017, 4, 10, 4, tzinfo=UTC)  # the last day is a full day


def test_every_household_is_a_user_with_the_answers_it_gave(journey: Dataset) -> None:
    users = dict(journey.users.iter_rows())
    assert list(users) == ["10", "11", "12"]
    assert {"key": "age", "value": "65+"} in users["10"]
    assert "home_ownership" not in {pair["key"] for pair in users["10"]}
    assert users["11"] == []


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("FRZN SS PREMIUM ENTREES/DNRS/N", "Frozen single serve premium entrees, dinners"),
        ("CANDY BARS (SINGLES)(INCLUDING", "Candy bars (singles)"),
        ("PREPARED BEANS - BAKED W/PORK", "Prepared beans, baked with pork"),
        ("CHIX: ROTISSERIE (HOT)", "Chicken: rotisserie (hot)"),
        ("APPLES GALA (BULK&BAG)", "Apples gala"),
        ("DRUG GM", "Drugstore and household"),
    ],
)
def test_the_registers_shorthand_becomes_words(raw: str, words: str) -> None:
    assert readable(raw) == words


@pytest.mark.parametrize(
    ("raw", "size"),
    [
        ("N   14 OZ", "14 oz"),
        ("118851 4 OZ", "4 oz"),
        ("0506092 OZ", "2 oz"),
        ("972414  PK", None),
        ("2 L", "2 L"),
        ("36)1.12 OZ", "1.12 oz"),
    ],
)
def test_package_sizes_lose_their_stock_numbers(raw: str, size: str | None) -> None:
    assert readable_size(raw) == size


def test_a_vague_type_takes_its_category_along() -> None:
    assert name_of("Meat", "Bacon", "Economy") == "Bacon: economy"
    assert name_of("Produce", "Citrus", "Lemons") == "Lemons"
    assert name_of("Toys", None, None) == "Toys, other"


def test_a_shops_own_folder_is_read_with_its_first_monday_and_all_its_shoppers(tmp_path: Path) -> None:
    lines = EVENT_LINE % ("e1", "ben", "2024-03-10T23:59:00Z") + EVENT_LINE % ("e2", "ada", "2024-03-07T01:00:00Z")
    (tmp_path / "events.jsonl").write_text(lines)
    (tmp_path / "items.csv").write_text("item_id,title\nkettle,Kettle\n")
    (tmp_path / "users.csv").write_text('user_id,attributes\neve,"[{""key"":""club"",""value"":""gold""}]"\n')
    dataset = load(f"parquet:{tmp_path}", tmp_path / "cache")
    assert dataset.events["event_id"].to_list() == ["e2", "e1"]
    assert dataset.calendar.first_monday == date(2024, 3, 4)
    assert dataset.users["user_id"].to_list() == ["eve", "ada", "ben"]
    assert dataset.promotions.is_empty()
    assert dataset.synthetic is False


def test_a_folder_written_from_a_data_set_gives_it_back(tmp_path: Path) -> None:
    shop = generate(SyntheticConfig(user_count=10, item_count=30, taste_count=3)).dataset
    for table in TABLES:
        getattr(shop, table).write_parquet(tmp_path / f"{table}.parquet")
    loaded = parquet.load(tmp_path, tmp_path / "rejects")
    for table in TABLES:
        assert_frame_equal(getattr(loaded, table), getattr(shop, table))


def test_a_folder_without_items_or_with_two_of_them_or_no_good_row_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text(EVENT_LINE % ("e1", "ada", "2024-03-07T01:00:00Z"))
    with pytest.raises(SchemaError, match="no items file"):
        parquet.load(tmp_path, tmp_path / "rejects")
    (tmp_path / "items.csv").write_text('item_id,title\nkettle," "\n')
    with pytest.raises(SchemaError, match=r"items\.csv: 1 of 1 rows rejected; .*; no good row left"):
        parquet.load(tmp_path, tmp_path / "rejects")
    (tmp_path / "items.jsonl").write_text('{"item_id":"kettle","title":"Kettle"}\n')
    with pytest.raises(SchemaError, match=r"table items stands there twice: items\.csv, items\.jsonl"):
        parquet.load(tmp_path, tmp_path / "rejects")


def test_the_synthetic_spec_sets_options_by_name(tmp_path: Path) -> None:
    assert config_of("seed=3,taste_share=0.5") == SyntheticConfig(seed=3, taste_share=0.5)
    dataset = load("synthetic:user_count=7,weeks=1", tmp_path)
    assert (dataset.users.height, dataset.synthetic) == (7, True)
    with pytest.raises(ValueError, match="option 'colour' is none of user_count"):
        config_of("colour=red")
    with pytest.raises(ValueError, match="option weeks: 'many' is not a number"):
        config_of("weeks=many")


def test_an_unknown_adapter_is_an_error_that_names_the_choices(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=f"'amazon' is none of {', '.join(ADAPTERS)}"):
        load("amazon:reviews.json", tmp_path)
    with pytest.raises(AdapterError, match="write parquet:DIR"):
        load("parquet", tmp_path)


def test_the_packages_files_can_also_lie_in_a_folder_of_ones_own(
    grocer: Path, journey: Dataset, tmp_path: Path
) -> None:
    assert load(f"complete-journey:{grocer}", tmp_path).events.equals(journey.events)


def test_a_source_that_is_not_installed_is_an_error_that_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(complete_journey, "PACKAGE", "no-such-package")
    with pytest.raises(AdapterError, match="complete-journey: package no-such-package is not installed"):
        load("complete-journey", tmp_path)


def test_a_kept_data_set_is_recalled_as_it_was(journey: Dataset, tmp_path: Path) -> None:
    kept = tmp_path / "cache" / "journey"
    cache.keep(journey, kept)
    cache.keep(journey, kept)  # another process that finishes later changes nothing
    recalled = cache.recall(kept)
    for table in TABLES:
        assert_frame_equal(getattr(recalled, table), getattr(journey, table))
    assert (recalled.name, recalled.calendar, recalled.synthetic) == (journey.name, journey.calendar, False)
    assert [path.name for path in kept.parent.iterdir()] == ["journey"]


def test_a_damaged_copy_is_an_error_that_names_the_file(journey: Dataset, tmp_path: Path) -> None:
    kept = tmp_path / "journey"
    cache.keep(journey, kept)
    (kept / "items.parquet").write_bytes(b"PAR1")
    with pytest.raises(SchemaError, match=r"items\.parquet: cannot be read"):
        cache.recall(kept)
