"""Which bundles' towers a running Triton has loaded: the one that serves, the one before it, and a shadow's.

Ranking processes switch a moment apart, and back at once when a promotion is taken back; two generations answer all of
them. Older ones are unloaded and their files deleted. Knows nothing of the pointer.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from features.bundle import open_bundle
from services.triton.control import ModelControl
from services.triton.repository import build_repository, prune_repository

logger = logging.getLogger(__name__)

KEPT_GENERATIONS = 2
"""The present bundle and the one before."""


class ServedTowers:
    """The towers of one model repository on one server, for the cpu target."""

    def __init__(self, control: ModelControl, repository: Path, version: str, shadow: str | None = None) -> None:
        """Those of bundle `version` are loaded.

        Args:
            control: The server.
            repository: Its model repository.
            version: Of the bundle that serves.
            shadow: Version of a bundle whose towers stay once they are loaded.
        """
        self._control = control
        self._repository = repository
        self._versions = [version]
        self._shadow = shadow
        self._prune()

    @property
    def versions(self) -> Sequence[str]:
        """Of the bundles that serve and served, newest first."""
        return tuple(self._versions)

    def serve(self, root: Path) -> None:
        """Load the towers of the bundle in a directory beside the present ones, then let the oldest go. Blocks.

        Raises:
            BundleError: the bundle is damaged; nothing has changed.
            ModelControlError: its towers do not load; those that are loaded stay.
        """
        if root.name == self._versions[0]:
            return
        version = self.load(root)
        self._versions = [version, *(other for other in self._versions if other != version)][:KEPT_GENERATIONS]
        self._prune()
        logger.info("serving the towers of %s", ", ".join(self._versions))

    def load(self, root: Path) -> str:
        """Load the towers of the bundle in a directory; returns its version. Blocks. Errors as `serve`."""
        bundle = open_bundle(root)
        for model in build_repository(bundle.root, "cpu", self._repository):
            self._control.load(model)
        return bundle.version

    def _prune(self) -> None:
        kept = [*self._versions, self._shadow] if self._shadow else self._versions
        for model in prune_repository(self._repository, kept, self._control.unload):
            logger.info("deleted %s", model)
