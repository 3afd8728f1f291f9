"""What the text tower reads of an item: the same words in training and for an item that comes in while a bundle serves.

Two spellings of one rule, for a table and for a single item; a test holds them together.
"""

import polars as pl

_BETWEEN = ". "


def item_text(title: str, description: str) -> str:
    """Title, then description; the title alone where there is no description."""
    return f"{title}{_BETWEEN}{description}" if description else title


def item_text_column() -> pl.Expr:
    """`item_text` of every row of the ITEMS table, String, named `text`."""
    parts = (pl.col("title"), pl.col("description").replace("", None))
    return pl.concat_str(*parts, separator=_BETWEEN, ignore_nulls=True).alias("text")
