"""Item vectors by row: in memory for a small catalogue, mapped from the bundle's file for a large one.

Choices: a file holds half precision, which is exact for what training writes; a mapped one is never copied as a whole,
and processes on one machine share its pages. What is handed out is float32 in either case.
"""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.integer[Any]]
"""Rows, of any width of integer."""


class Vectors(Protocol):
    """N vectors of D numbers."""

    def __len__(self) -> int:
        """N."""

    def __getitem__(self, rows: Places, /) -> npt.NDArray[np.float32]:
        """The vectors of rows [n], float32 [n, D].

        Raises:
            IndexError: if a row is N or more.
        """


class MappedVectors:
    """The vectors of a file, float16 [N, D] on disk; each use reads the rows it asks for and no others."""

    def __init__(self, path: Path) -> None:
        """Map `path`, which must stay as it is.

        Raises:
            ValueError: if it does not hold one matrix of floating-point numbers.
        """
        self._stored = np.load(path, mmap_mode="r", allow_pickle=False)
        if self._stored.ndim != 2 or not np.issubdtype(self._stored.dtype, np.floating):
            raise ValueError(f"{path}: {self._stored.dtype} {self._stored.shape}, expected floats (N, D)")

    def __len__(self) -> int:
        """N."""
        return len(self._stored)

    def __getitem__(self, rows: Places, /) -> npt.NDArray[np.float32]:
        """See `Vectors`."""
        found: npt.NDArray[np.float32] = np.asarray(self._stored[rows]).astype(np.float32)
        return found


def every_vector(vectors: Vectors) -> npt.NDArray[np.float32]:
    """All of them, float32 [N, D], as a new array."""
    return vectors[np.arange(len(vectors), dtype=np.int32)]


class PatchedVectors:
    """Other vectors beside or instead of some of those there are, which are neither copied nor written to."""

    def __init__(self, base: Vectors, rows: Places, vectors: npt.NDArray[np.float32], row_count: int) -> None:
        """Give `rows` the given vectors.

        Args:
            base: Of the rows 0 to N - 1.
            rows: Distinct rows [n] below `row_count`; all from N on must be among them.
            vectors: float32 [n, D].
            row_count: How many there are now.

        Raises:
            ValueError: if a row has no vector.
        """
        self._base, self._vectors = base, vectors
        self._place = np.full(row_count, -1, dtype=np.int32)
        self._place[rows] = np.arange(len(rows), dtype=np.int32)
        if (self._place[len(base) :] < 0).any():
            raise ValueError(f"row {len(base) + int(np.argmax(self._place[len(base) :] < 0))} has no vector")

    def __len__(self) -> int:
        """N."""
        return self._place.size

    def __getitem__(self, rows: Places, /) -> npt.NDArray[np.float32]:
        """See `Vectors`."""
        places = self._place[rows]
        patched = places >= 0
        found = np.empty((len(places), self._vectors.shape[1]), dtype=np.float32)
        found[~patched] = self._base[rows[~patched]]
        found[patched] = self._vectors[places[patched]]
        return found
