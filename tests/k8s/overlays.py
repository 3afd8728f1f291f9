"""What the overlays render to, each once a process. Whoever changes objects copies them first."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.conftest import REPOSITORY_ROOT
from tests.k8s.manifests import Objects, parsed, prepared, rendered

K8S = REPOSITORY_ROOT / "k8s"
TOOLS = REPOSITORY_ROOT / ".venv-k8s/bin"


@cache
def every_overlay() -> dict[str, Objects]:
    """Name → objects; those that a component is rendered in begin with `with-`."""
    with TemporaryDirectory(prefix="aisle-k8s-") as folder:
        overlays = sorted(prepared(K8S, Path(folder)).iterdir())
        return {overlay.name: parsed(rendered(overlay, TOOLS / "kubectl")) for overlay in overlays}
