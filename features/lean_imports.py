"""Keeps heavy libraries out of a process that has no use for them, even where they are installed.

Feast imports torch when it finds it, LightGBM scikit-learn; both go on without. Measured with both installed:
`import feast` 3.3 to 4.3 s, 356 MB; without torch 2.4 to 3.1 s, 177 MB. `import lightgbm` 1.0 s, 187 MB; without
scikit-learn .4 s, 120 MB. (Feast's file store needs Dask.)

Choice: a finder that refuses, not `sys.modules[name] = None`: SciPy asks whether "torch" is in sys.modules and then
trips over the None.

This module does not know which libraries a process needs: its entry point says so, before its other imports.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _Refusal(MetaPathFinder):
    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if fullname in self._names:
            msg = f"{fullname} is kept out of this process"
            raise ModuleNotFoundError(msg, name=fullname)
        return None


def block(*names: str) -> None:
    """Make every later import of these top-level modules fail in this process, as if they were not installed.

    Raises:
        RuntimeError: if one of them is already imported; the message names it.
    """
    if early := [name for name in names if name in sys.modules]:
        raise RuntimeError(f"too late to keep out {', '.join(early)}: already imported")
    sys.meta_path.insert(0, _Refusal(frozenset(names)))
