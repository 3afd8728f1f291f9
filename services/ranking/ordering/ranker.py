"""The ranker's evaluation: LightGBM's own text format, compiled, one thread (a server answers many requests side by
side).

There are two, since what a shopper has had before and what is new to them are told apart by different things: one for
all items, one for lists without what the shopper had before.
"""

from dataclasses import dataclass
from pathlib import Path

import lightgbm
import numpy as np
import numpy.typing as npt

from features import bundle as files
from features import spec
from features.bundle import Bundle, BundleError
from features.encode import Floats
from services.ranking.compiled_trees import CompiledTrees, compile_trees


class Ranker:
    """A trained LambdaMART model over `spec.MATRIX_COLUMNS`."""

    __slots__ = ("_booster", "_compiled")

    def __init__(self, model_text: str) -> None:
        """Load from LightGBM's text format.

        Raises:
            ValueError: if the text is no model, or one of other columns, naming the first that differs.
        """
        try:
            self._booster = lightgbm.Booster(model_str=model_text)
        except lightgbm.basic.LightGBMError as error:
            raise ValueError(f"ranker: {error}") from error
        self._compiled: CompiledTrees | None = None
        names = self._booster.feature_name()
        for position, (found, expected) in enumerate(zip(names, spec.MATRIX_COLUMNS, strict=False)):
            if found != expected:
                raise ValueError(f"ranker column {position} is {found!r}, the matrix has {expected!r}")
        if len(names) != len(spec.MATRIX_COLUMNS):
            raise ValueError(f"ranker has {len(names)} columns, the matrix has {len(spec.MATRIX_COLUMNS)}")

    @classmethod
    def load(cls, path: Path) -> "Ranker":
        """Load from a file."""
        return cls(path.read_text())

    def compile(self, code: Path | None = None) -> CompiledTrees:
        """Translate to machine code, about a second for a large model, unless `code` holds it (see `compile_trees`);
        otherwise the first call of `score` does."""
        if self._compiled is None:
            # As LightGBM writes it: it reads what the compiler does not, a text without sizes of trees for instance.
            self._compiled = compile_trees(self._booster.model_to_string(), code)
        return self._compiled

    def score(self, matrix: Floats) -> Floats:
        """Raw ranking scores, float32 [n], for float32 [n, F]; only their order has a meaning."""
        return self.compile()(matrix).astype(np.float32)

    def contributions(self, matrix: Floats) -> npt.NDArray[np.float64]:
        """What each feature adds to each raw score, float64 [n, F + 1], for float32 [n, F]; the last column is the
        baseline, and a row sums to the score."""
        if not matrix.shape[0]:
            return np.empty((0, matrix.shape[1] + 1))
        found = self._booster.predict(matrix, num_threads=1, pred_contrib=True, validate_features=False)
        return np.asarray(found, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Rankers:
    """Both rankers of one bundle."""

    all_items: Ranker
    new_items: Ranker
    """For lists without what the shopper had before."""

    @classmethod
    def load(cls, bundle: Bundle) -> "Rankers":
        """Load from a verified bundle.

        Raises:
            BundleError: naming the file that is no ranker, or one of other columns.
        """
        return cls(_loaded(bundle, files.RANKER), _loaded(bundle, files.NEW_RANKER))


def _loaded(bundle: Bundle, name: str) -> Ranker:
    path = bundle.path(name)
    try:
        return Ranker.load(path)
    except ValueError as error:
        raise BundleError(f"{path}: {error}") from error
