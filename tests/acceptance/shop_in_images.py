"""A whole shop of which every process runs in its image: what each one does, and that it was done.

Choices: the synthetic shop, trained in the training image itself, so that nothing depends on what this machine has
trained before; Valkey alone, whose image is its makers', is a plain process.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from services.common.process import ManagedProcess, free_port
from services.common.valkey import ValkeyConfig, start_valkey
from services.stack import serving
from tests.acceptance.containers import Image
from tests.conftest import REPOSITORY_ROOT
from tests.k8s.manifests import named
from tests.k8s.overlays import every_overlay

_DATA = "synthetic:user_count=300,item_count=300,weeks=12,seed=7"
_CUTOFF_WEEK = "10"
_READY_SECONDS = 300.0
_JOB_SECONDS = 1800.0
_SERVERS = ("triton-cpu", "retrieval", "ranking", "ingest", "updater")
"""In the order in which they start."""
_RUN = "/data/training/run"
GPU = REPOSITORY_ROOT / "k8s/components/gpu"
_FOLDERS = ("bundles", "live", "training", "state")


class ShopInImages:
    """Jobs in order, then the servers beside each other; every folder below `folder` is the images' user's."""

    def __init__(self, images: Mapping[str, Image], folder: Path) -> None:
        """Nothing runs yet."""
        self._images = images
        self._folder = folder
        self._ports = {name: free_port() for name in ("valkey", "triton_http", "triton_metrics", *_SERVERS)}

    def address(self, role: str) -> str:
        """Where a server is."""
        return f"127.0.0.1:{self._ports[role]}"

    def train(self) -> None:
        """A bundle, trained and promoted in the training image."""
        folders = ("--checkpoints", "/data/training/checkpoints", "--runs", "/data/training/runs")
        options = ("--recipe", "small", "--cutoff-week", _CUTOFF_WEEK, *folders)
        self._job("training", "training.train", *_shared(), *options)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """The stores filled and every server SERVING, for the length of the block.

        Raises:
            ProcessError: one of them ended, or was not ready in time.
        """
        with ExitStack() as stopping:
            valkey = ValkeyConfig(self._folder / "valkey", self._ports["valkey"])
            stopping.callback(start_valkey(valkey).stop)
            redis = ("--redis", self.address("valkey"))
            feast = ("--feast-dir", "/data/state/feast", "--offline-dir", "/data/training/offline")
            self._job("training", "features.materialise", *_shared(), *redis, *feast)
            self._job("ingest", "services.ingest.seed", *_shared(), *redis, "--live-dir", "/data/live")
            for role in _SERVERS:
                server = stopping.enter_context(self._server(role))
                server.wait_ready(serving(self.address(role)), _READY_SECONDS)
            yield

    def gpu_models(self) -> set[str]:
        """Names of the models that the init container of Triton on a GPU leaves, run as the manifest says."""
        triton = named(every_overlay()["production"], "Deployment", "triton")["spec"]["template"]["spec"]
        [building] = [one for one in triton["initContainers"] if one["name"] == "build-models"]
        empty = {path: self._empty_dir(path) for path in ("/models", "/packages")}
        image = self._images["triton-cpu"]
        given = {"/data/bundles": self._folder / "bundles", "/build": GPU}
        command = image.command(building["command"], mounts=empty, read_only=given)
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_JOB_SECONDS)
        if run.returncode:
            raise RuntimeError(f"build-models ended with status {run.returncode}: {run.stderr[-3000:]}")
        if not (empty["/packages"] / "tokenizers/__init__.py").exists():
            raise RuntimeError("build-models left no tokenizers")
        return {path.name for path in (empty["/models"] / "repository").iterdir()}

    def _empty_dir(self, path: str) -> Path:
        """As the kubelet makes one for a pod with an fsGroup: root's, and its group's to write to."""
        folder = self._folder / f"empty{path.replace('/', '-')}"
        folder.mkdir()
        os.chown(folder, 0, self._images["triton-cpu"].user()[1])
        folder.chmod(0o2770)
        return folder

    def visit(self) -> tuple[int, Path]:
        """Shoppers of the load test's image for some seconds: its exit status, and the folder of the run."""
        where = ("--target", self.address("ranking"), "--ingest", self.address("ingest"))
        options = ("--rate-seconds", "1", "10", "--timeout", "5", "--build", "/data/training", "--out", _RUN)
        words = ("--data", _DATA, "--bundles", "/data/bundles", *where, *options)
        run = self._run("loadtest", "loadtest", *words)
        return run.returncode, self._folder / "training" / "run"

    def _job(self, role: str, module: str, *words: str) -> None:
        run = self._run(role, module, *words)
        if run.returncode:
            raise RuntimeError(f"{role}: {module} ended with status {run.returncode}: {run.stderr[-3000:]}")

    def _run(self, role: str, module: str, *words: str) -> "subprocess.CompletedProcess[str]":
        command = self._command(role, "python", "-m", module, *words)
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_JOB_SECONDS)

    def _server(self, role: str) -> ManagedProcess:
        return ManagedProcess(role, self._command(role), log_path=self._folder / f"{role}.log")

    def _command(self, role: str, *words: str) -> list[str | Path]:
        """What runs in the role's image; by default its own command."""
        image = self._images[role]
        return image.command(words, environment=self._environment(), mounts=self._mounts(*image.user()))

    def _mounts(self, user: int, group: int) -> dict[str, Path]:
        mounts = {f"/data/{name}": self._folder / name for name in _FOLDERS}
        for path in mounts.values():
            path.mkdir(exist_ok=True)
            os.chown(path, user, group)
        return mounts

    def _environment(self) -> dict[str, str]:
        return {
            "OMP_NUM_THREADS": "1",
            "POLARS_MAX_THREADS": "1",
            "AISLE_BUNDLES": "/data/bundles",
            "AISLE_CLOCK": "as-of",
            "AISLE_REDIS": self.address("valkey"),
            "AISLE_FEAST_DIR": "/data/state/feast",
            "AISLE_OFFLINE_DIR": "/data/training/offline",
            "AISLE_LIVE_DIR": "/data/live",
            "AISLE_TRAINING_DIR": "/data/training",
            "AISLE_TRITON_WORK_DIR": "/data/state/triton",
            "AISLE_TRITON_GRPC_PORT": str(self._ports["triton-cpu"]),
            "AISLE_TRITON_HTTP_PORT": str(self._ports["triton_http"]),
            "AISLE_TRITON_METRICS_PORT": str(self._ports["triton_metrics"]),
            "AISLE_TRITON_ADDRESS": self.address("triton-cpu"),
            **{f"AISLE_{role.upper()}_PORT": str(self._ports[role]) for role in _SERVERS if role != "triton-cpu"},
        }


def _shared() -> tuple[str, ...]:
    """Options of every job."""
    return ("--data", _DATA, "--bundles", "/data/bundles", "--cache", "/data/training/data")
