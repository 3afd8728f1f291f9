"""The training jobs of one simulated shop, as child processes."""

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from features.bundle import serving_path

_RECIPE = ("--recipe", "small")


@dataclass(frozen=True, slots=True)
class Nights:
    """A shop's folder and what is trained in it."""

    folder: Path
    data: str
    """The data spec of what the shop knew before the first round."""
    begin: datetime
    """Of the first round."""

    @property
    def live(self) -> Path:
        """Where the stack writes its log."""
        return self.folder / "live"

    @property
    def bundles(self) -> Path:
        """Where bundles and the pointer are."""
        return self.folder / "bundles"

    @property
    def serving(self) -> str:
        """The version that the pointer names."""
        return serving_path(self.bundles).name

    def first_bundle(self) -> None:
        """Train on the earlier shoppers and promote."""
        cutoff = ("--cutoff", self.begin.isoformat())
        status = self._job("training.train", "--data", self.data, *cutoff, *_RECIPE, *self._places)
        if status:
            raise AssertionError(f"training.train ended with status {status}; see {self._log('training.train')}")

    def run(self, redis: str) -> bool:
        """The nightly run over everything so far: whether it promoted.

        Raises:
            AssertionError: it ended for another reason than the gate's refusal.
        """
        self._report.unlink(missing_ok=True)
        stores = ("--feast-dir", self.folder / "feast", "--offline-dir", self.folder / "offline", "--redis", redis)
        data = ("--data", f"{self.data}+live:{self.live}")
        fit = ("--full", *_RECIPE, "--gate-report", self._report)
        status = self._job("training.nightly", *data, *fit, *self._places, *stores)
        if status and not (self._report.exists() and self.reasons()):
            raise AssertionError(f"training.nightly ended with status {status}; see {self._log('training.nightly')}")
        return status == 0

    def reasons(self) -> list[str]:
        """Why the gate refused the last night's bundle; empty where it passed."""
        report: dict[str, Any] = json.loads(self._report.read_text())
        return [str(reason) for reason in report["reasons"]]

    @property
    def _report(self) -> Path:
        return self.folder / "gate.json"

    @property
    def _places(self) -> tuple[str | Path, ...]:
        checkpoints = self.folder / "checkpoints"
        return "--cache", self.folder / "data", "--bundles", self.bundles, "--checkpoints", checkpoints

    def _log(self, module: str) -> Path:
        return self.folder / "logs" / f"{module}.log"

    def _job(self, module: str, *words: str | Path) -> int:
        self._log(module).parent.mkdir(parents=True, exist_ok=True)
        with self._log(module).open("ab") as log:
            command = [sys.executable, "-m", module, *map(str, words)]
            return subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
