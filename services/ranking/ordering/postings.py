"""Which items carry a term: lists of rows by term, for whole catalogues at once.

Shapes: N items, V distinct terms, P pairs of term and item.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from features.vocab import Rows, Vocabulary
from services.ranking.ordering.selection import Mask


@dataclass(frozen=True, slots=True)
class Postings:
    """The rows that carry each term."""

    terms: Vocabulary
    """V terms, in the order in which the items first name them."""
    starts: npt.NDArray[np.int64]
    """int64 [V + 1], where each term's rows start in `rows`; the last is P."""
    rows: Rows
    """int32 [P], distinct and ascending within a term."""
    row_count: int
    """N."""

    @classmethod
    def of(cls, terms: pl.Series) -> "Postings":
        """Sort rows by term.

        Args:
            terms: List(String) [N], each row's terms; nulls, empty lists and repeats are allowed.

        Raises:
            polars.exceptions.InvalidOperationError: if `terms` does not hold lists.
        """
        table = pl.DataFrame({"term": terms.list.unique(maintain_order=True)})
        pairs = table.with_columns(row=pl.int_range(pl.len(), dtype=pl.Int32)).explode("term").drop_nulls("term")
        by_term = pairs.group_by("term", maintain_order=True).agg("row")
        starts = np.zeros(by_term.height + 1, dtype=np.int64)
        np.cumsum(by_term["row"].list.len().to_numpy(), out=starts[1:])
        return cls(Vocabulary(by_term["term"]), starts, by_term["row"].explode().to_numpy(), terms.len())

    def with_rows(self, rows: Rows, terms: pl.Series, row_count: int) -> "Postings":
        """The same but for some rows, which carry other terms or are new.

        Args:
            rows: int32 [n], distinct, each below `row_count`.
            terms: List(String) [n], all that each of them carries now, as for `of`.
            row_count: How many rows there are now; at least N.
        """
        carried = pl.DataFrame({"row": rows, "term": terms.list.unique(maintain_order=True)})
        pairs = carried.explode("term").drop_nulls("term")
        distinct = pairs["term"].unique(maintain_order=True).to_list()
        unknown = [term for term, place in zip(distinct, self.terms.rows(distinct), strict=True) if place < 0]
        vocabulary = self.terms.extended(unknown)
        added = vocabulary.rows(pairs["term"].to_list()).astype(np.int64) * row_count + pairs["row"].to_numpy()
        replaced = np.zeros(row_count, dtype=np.bool_)
        replaced[rows] = True
        stays = ~replaced[self.rows]
        term_of = np.repeat(np.arange(len(self.terms), dtype=np.int64), np.diff(self.starts))
        before = term_of[stays] * row_count + self.rows[stays]  # ascending, as rows are within each term
        added.sort()
        keys = np.insert(before, np.searchsorted(before, added), added)
        starts = np.searchsorted(keys, np.arange(len(vocabulary) + 1, dtype=np.int64) * row_count)
        return Postings(vocabulary, starts, (keys % max(row_count, 1)).astype(np.int32), row_count)

    def any_of(self, terms: Sequence[str]) -> Mask:
        """Rows that carry at least one of `terms`, bool [N]; none carries an unknown term."""
        mask = np.zeros(self.row_count, dtype=np.bool_)
        for place in self.terms.rows(terms):
            if place >= 0:
                mask[self.rows[self.starts[place] : self.starts[place + 1]]] = True
        return mask
