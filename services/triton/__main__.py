"""`python -m services.triton`: the towers of the serving bundle, on the real server, until SIGTERM.

`python -m services.triton build --target gpu --out DIR` only writes the model repository, which the server in NVIDIA's
container reads. Settings come from the environment.
"""

import argparse
import logging
import signal
import sys
from pathlib import Path

from features.bundle import BundleError, open_bundle, serving_path
from services.common.process import ManagedProcess, ProcessError
from services.common.settings import Port, ServiceSettings, SettingsError
from services.common.telemetry import configure_logging
from services.triton.embedded import TritonPorts, start_triton
from services.triton.environment import TritonEnvironmentError
from services.triton.repository import Target, build_repository

logger = logging.getLogger("services.triton")


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


def build(settings: TritonSettings, target: Target, out: Path) -> list[str]:
    """Verify the serving bundle and write its model repository; returns the names of the models to load."""
    bundle = open_bundle(serving_path(settings.bundles))
    models = build_repository(bundle.root, target, out)
    logger.info("%s: models of bundle %s for target %s: %s", out, bundle.version, target, ", ".join(models))
    return models


def serve(settings: TritonSettings) -> int:
    """Serve the serving bundle's towers until SIGTERM or SIGINT; 1 if the server ends by itself."""
    repository = settings.triton_work_dir / "repository"
    models = build(settings, "cpu", repository)
    ports = TritonPorts(settings.triton_grpc_port, settings.triton_http_port, settings.triton_metrics_port)
    with start_triton(repository, models, settings.triton_work_dir, settings.triton_venv, ports=ports) as triton:
        logger.info("serving at %s, log in %s", triton.grpc_address, triton.log_path)
        return _wait(triton)


def _wait(triton: ManagedProcess) -> int:
    signals = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
    # Blocked only now: a child inherits the mask, and a server that blocks SIGTERM never stops.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    while triton.exit_status is None:
        if signal.sigwait(signals) != signal.SIGCHLD:
            return 0
    logger.error("the server ended with status %s, see %s", triton.exit_status, triton.log_path)
    return 1


if __name__ == "__main__":
    sys.exit(main())
