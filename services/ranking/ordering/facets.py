"""Which items meet a request's conditions: catalogue facets as arrays, and masks over them.

Shapes: N items in the order of the ITEMS table.

Choices:
- A condition costs as much as the items that it names (postings), plus a few passes over N booleans.
- Most requests have no condition: what they may show is one mask, made once and shared.
- Exclusions, stock and sensitivity are separate from what merely narrows: they hold even where a list is filled up.
- What is deleted passes no condition at all.

This module does not know who bought what, nor how a list is filled up.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.vocab import Rows
from services.ranking.ordering.postings import Postings
from services.ranking.ordering.selection import Mask


@dataclass(frozen=True, slots=True)
class Facets:
    """What conditions ask of items, for a whole catalogue."""

    categories: Postings
    """A term is one name of an item's category path, at any level."""
    brands: Postings
    attributes: Postings
    """A term is an `attribute_term`."""
    price: npt.NDArray[np.float64]
    """float64 [N]; NaN where unknown."""
    in_stock: Mask
    sensitive: Mask
    gone: Mask | None = None
    """Items that are in no list, whatever is asked for: deleted since the bundle was made. None: there are none."""
    without_sensitive: Mask = field(init=False)
    """What may be in a list where nothing else is asked for; shared, hence not writable."""

    def __post_init__(self) -> None:
        """Make what follows from the parts."""
        mask = ~self.sensitive if self.gone is None else ~(self.sensitive | self.gone)
        mask.setflags(write=False)
        object.__setattr__(self, "without_sensitive", mask)

    def there(self, allow_sensitive: bool) -> Mask:
        """What may be in a list where nothing but that is asked for, bool [N]; shared, hence not to be written to."""
        if not allow_sensitive:
            return self.without_sensitive
        return np.ones(self.sensitive.size, dtype=np.bool_) if self.gone is None else ~self.gone

    @classmethod
    def plain(cls, item_count: int) -> "Facets":
        """Of items about which no condition can say anything: for sale, not sensitive, and otherwise unknown."""
        nothing = Postings.of(pl.Series([[]] * item_count, dtype=pl.List(pl.String)))
        unknown = np.full(item_count, np.nan)
        return cls(nothing, nothing, nothing, unknown, np.ones(item_count, bool), np.zeros(item_count, bool))

    @classmethod
    def of(cls, items: pl.DataFrame) -> "Facets":
        """Facets of the ITEMS table, in its order of rows."""
        categories, brands, attributes = _terms(items)
        return cls(
            categories=Postings.of(categories),
            brands=Postings.of(brands),
            attributes=Postings.of(attributes),
            price=items["price"].fill_null(np.nan).to_numpy(),
            in_stock=items["in_stock"].to_numpy(),
            sensitive=items["sensitive"].to_numpy(),
        )

    def with_rows(self, rows: Rows, items: pl.DataFrame, gone: Mask) -> "Facets":
        """The same but for some rows, of which the ITEMS table says something else or which are new.

        Args:
            rows: int32 [n], distinct; they and the old rows are all the rows from 0 to M - 1.
            items: The ITEMS table of those rows, in their order.
            gone: bool [M], items that are in no list; not written to afterwards.
        """
        carried = zip((self.categories, self.brands, self.attributes), _terms(items), strict=True)
        categories, brands, attributes = (postings.with_rows(rows, terms, gone.size) for postings, terms in carried)
        return Facets(
            categories=categories,
            brands=brands,
            attributes=attributes,
            price=_with(self.price, rows, items["price"].fill_null(np.nan).to_numpy(), gone.size),
            in_stock=_with(self.in_stock, rows, items["in_stock"].to_numpy(), gone.size),
            sensitive=_with(self.sensitive, rows, items["sensitive"].to_numpy(), gone.size),
            gone=gone if gone.any() else None,
        )


def _terms(items: pl.DataFrame) -> tuple[pl.Series, pl.Series, pl.Series]:
    """Every item's categories, brands and attributes, List(String) each."""
    key, value = pl.element().struct.field("key"), pl.element().struct.field("value")
    term = pl.concat_str(key.str.len_chars().cast(pl.String), pl.lit(":"), key, value)
    brands = items.select(pl.concat_list("brand")).to_series()
    return items["category"], brands, items["attributes"].list.eval(term)


def _with(values: npt.NDArray[Any], rows: Rows, others: npt.NDArray[Any], row_count: int) -> npt.NDArray[Any]:
    """A copy of `values`, as long as `row_count`, with `others` at `rows`."""
    copy = np.empty(row_count, dtype=values.dtype)
    copy[: values.size] = values
    copy[rows] = others
    return copy


def attribute_term(name: str, value: str) -> str:
    """Name and value of an attribute as one term; the name's length stands first, so that no two pairs share a term."""
    return f"{len(name)}:{name}{value}"


@dataclass(frozen=True, kw_only=True, slots=True)
class AttributeRule:
    """A condition on one attribute. An item may have several values of it; one of them decides."""

    name: str
    include_values: tuple[str, ...] = ()
    """Only items with one of these values: an item without the attribute fails. Empty: no condition."""
    exclude_values: tuple[str, ...] = ()
    """No item with one of these values: an item without the attribute passes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Conditions:
    """Which items may be in a list; joined by AND, the values of one list by OR. An empty tuple is no condition."""

    include_categories: tuple[str, ...] = ()
    exclude_categories: tuple[str, ...] = ()
    include_brands: tuple[str, ...] = ()
    """An item without a brand is of none of them."""
    exclude_brands: tuple[str, ...] = ()
    include_rows: Rows | None = None
    """int32 [I]; -1 is no item. None: no condition. Empty: no item, as where none of the ids asked for is known."""
    exclude_rows: Rows | None = None
    """int32 [E]; -1 has no effect."""
    minimum_price: float | None = None
    """The end is included; an item whose price is unknown fails either end."""
    maximum_price: float | None = None
    """As `minimum_price`."""
    in_stock_only: bool = False
    attributes: tuple[AttributeRule, ...] = ()
    """All must hold."""
    allow_sensitive: bool = False

    @property
    def excludes(self) -> bool:
        """Whether `kept` asks for more than that items are not sensitive."""
        named = self.exclude_categories or self.exclude_brands
        return bool(named) or self.exclude_rows is not None or self.in_stock_only or self.allow_sensitive

    @property
    def narrows(self) -> bool:
        """Whether `wanted` asks for more than `kept`: inclusions, a price or values of attributes."""
        has_rows = self.include_rows is not None
        has_price = self.minimum_price is not None or self.maximum_price is not None
        has_values = any(rule.include_values or rule.exclude_values for rule in self.attributes)
        return bool(self.include_categories or self.include_brands) or has_rows or has_price or has_values


def kept(facets: Facets, conditions: Conditions) -> Mask:
    """Items that may be in a list even where it is filled up: by the exclusions, stock and sensitivity alone.

    Returns:
        bool [N]; may be shared, so copy it before you write to it.

    Raises:
        IndexError: if one of `exclude_rows` is N or more.
    """
    if not conditions.excludes:
        return facets.without_sensitive
    left_out = facets.categories.any_of(conditions.exclude_categories)
    left_out |= facets.brands.any_of(conditions.exclude_brands)
    if conditions.exclude_rows is not None:
        left_out |= _among(conditions.exclude_rows, left_out.size)
    if conditions.in_stock_only:
        left_out |= ~facets.in_stock
    if not conditions.allow_sensitive:
        left_out |= facets.sensitive
    if facets.gone is not None:
        left_out |= facets.gone
    return ~left_out


def wanted(facets: Facets, conditions: Conditions) -> Mask:
    """Items that meet every condition: `kept`, and the inclusions, the price range and the attribute rules too.

    Returns:
        bool [N]; may be shared, so copy it before you write to it.

    Raises:
        IndexError: if one of `include_rows` or `exclude_rows` is N or more.
    """
    mask = kept(facets, conditions)
    if not conditions.narrows:
        return mask
    mask = mask.copy()
    if conditions.include_categories:
        mask &= facets.categories.any_of(conditions.include_categories)
    if conditions.include_brands:
        mask &= facets.brands.any_of(conditions.include_brands)
    if conditions.include_rows is not None:
        mask &= _among(conditions.include_rows, mask.size)
    if conditions.minimum_price is not None:
        mask &= facets.price >= conditions.minimum_price
    if conditions.maximum_price is not None:
        mask &= facets.price <= conditions.maximum_price
    for rule in conditions.attributes:
        _hold(rule, facets.attributes, mask)
    return mask


def _hold(rule: AttributeRule, attributes: Postings, mask: Mask) -> None:
    """Clear the items of `mask` that break the rule."""
    if rule.include_values:
        mask &= attributes.any_of([attribute_term(rule.name, value) for value in rule.include_values])
    if rule.exclude_values:
        mask &= ~attributes.any_of([attribute_term(rule.name, value) for value in rule.exclude_values])


def _among(rows: Rows, row_count: int) -> Mask:
    """The given rows as a mask, without -1."""
    mask = np.zeros(row_count, dtype=np.bool_)
    mask[rows[rows >= 0]] = True
    return mask
