"""`python -m services.triton`: the towers of the serving bundle, and of the one before, on the real server.

`python -m services.triton build --target gpu --out DIR` only writes the model repository, which the server in NVIDIA's
container reads. Settings come from the environment.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from features.bundle import Bundle, BundleError, open_bundle, serving_path
from services.common.pointer import Pointer, following
from services.common.process import ManagedProcess, ProcessError
from services.common.settings import BundleVersion, Port, ServiceSettings, SettingsError
from services.common.telemetry import configure_logging
from services.triton.control import ModelControl, ModelControlError
from services.triton.embedded import TritonPorts, start_triton
from services.triton.environment import TritonEnvironmentError
from services.triton.repository import Target, build_repository
from services.triton.served import ServedTowers

logger = logging.getLogger("services.triton")

_NICENESS = 19


class TritonSettings(ServiceSettings):
    """What the embedded server reads from its environment, besides what every service does."""

    triton_venv: Path = Path(".venv-triton")
    """Virtual environment that holds Triton."""
    triton_work_dir: Path = Path("build/triton")
    """Folder for the model repository, the backend directory and the log."""
    triton_grpc_port: Port = 8001
    """Port for clients; 0 for a free one."""
    triton_http_port: Port = 8000
    """Port of Triton's HTTP interface (health); 0 for a free one."""
    triton_metrics_port: Port = 8002
    """Port of Triton's Prometheus exporter; 0 for a free one."""
    shadow_bundle: BundleVersion | None = None
    """A second bundle whose towers are loaded beside those of the serving one. None by default."""


def main(arguments: list[str] | None = None) -> int:
    """Build, or build and serve; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m services.triton", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    builder = commands.add_parser("build", help="only write the model repository of the serving bundle")
    builder.add_argument("--target", choices=["cpu", "gpu"], default="cpu")
    builder.add_argument("--out", type=Path, required=True, help="model repository; other models in it are kept")
    options = parser.parse_args(arguments)
    try:
        settings = TritonSettings.read()
        configure_logging(settings.log_level)
        if options.command == "build":
            build(settings, options.target, options.out)
            return 0
        return serve(settings)
    except (SettingsError, BundleError, TritonEnvironmentError, ProcessError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


def build(settings: TritonSettings, target: Target, out: Path) -> tuple[Bundle, list[str]]:
    """Verify the serving bundle and write its model repository; returns it, and the names of the models to load."""
    bundle = open_bundle(serving_path(settings.bundles))
    models = build_repository(bundle.root, target, out)
    logger.info("%s: models of bundle %s for target %s: %s", out, bundle.version, target, ", ".join(models))
    return bundle, models


def serve(settings: TritonSettings) -> int:
    """Serve the towers of the bundle that the pointer names, and of the one before, until SIGTERM or SIGINT; 1 if the
    server ends by itself."""
    repository = settings.triton_work_dir / "repository"
    bundle, models = build(settings, "cpu", repository)
    ports = TritonPorts(settings.triton_grpc_port, settings.triton_http_port, settings.triton_metrics_port)
    folders = (settings.triton_work_dir, settings.triton_venv)
    with start_triton(repository, models, *folders, ports=ports, host=settings.host) as triton:
        logger.info("serving at %s, log in %s", triton.grpc_address, triton.log_path)
        os.nice(_NICENESS)  # this process only, not the server: building models must not hold up those that answer
        towers = ServedTowers(ModelControl(triton.http_address), repository, bundle.version, settings.shadow_bundle)
        return asyncio.run(_until_over(triton, towers, settings))


async def _until_over(triton: ManagedProcess, towers: ServedTowers, settings: TritonSettings) -> int:
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)

    def child_ended() -> None:
        if triton.exit_status is not None:
            over.set()

    loop.add_signal_handler(signal.SIGCHLD, child_ended)
    child_ended()  # it may have before

    async def serve_towers(root: Path) -> None:
        await asyncio.to_thread(towers.serve, root)

    async with following(Pointer(settings.bundles), serve_towers, settings.swap_poll_seconds):
        if settings.shadow_bundle is not None:
            await asyncio.to_thread(_load_shadow, towers, settings.bundles / settings.shadow_bundle)
        await over.wait()
        status = triton.exit_status
    if status is None:
        return 0
    logger.error("the server ended with status %s, see %s", status, triton.log_path)
    return 1


def _load_shadow(towers: ServedTowers, root: Path) -> None:
    """What nobody sees must not keep the server from running: a fault is logged."""
    try:
        towers.load(root)
    except (BundleError, ModelControlError, ValueError) as error:
        logger.error("no shadow: %s", error)


if __name__ == "__main__":
    sys.exit(main())
