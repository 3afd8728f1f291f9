"""Runs what an image holds as a cluster would, where there is no container engine: buildah lays its files out, and
bubblewrap shows them to a process as a read-only root, with a memory file system at /tmp and what is mounted beside.

Choices: the process is the image's own user and has no capability. It shares this machine's network, so that the
services of several images find each other at the loopback interface. Needs to be root, as for building.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PROGRAMS = {"buildah": "buildah", "mmdebstrap": "mmdebstrap", "bwrap": "bubblewrap"}
"""Program → Debian package."""


class ContainersError(Exception):
    """Images cannot be built or run here; the message says what is missing."""


def install_programs() -> None:
    """Install what builds and runs images, where it is missing.

    Raises:
        ContainersError: this is not root, or Debian's packages cannot be had.
    """
    missing = [package for program, package in _PROGRAMS.items() if shutil.which(program) is None]
    if os.geteuid() != 0:
        raise ContainersError("images are built and run by root")
    if not missing:
        return
    try:
        subprocess.run(["apt-get", "update", "-q"], check=True, capture_output=True, text=True)  # noqa: S607 - as in PATH
        install = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *missing]
        subprocess.run(install, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or error
        raise ContainersError(f"apt-get install {' '.join(missing)}: {said}") from error


@dataclass(frozen=True, slots=True)
class Image:
    """An image and its files on this machine."""

    root: Path
    config: Mapping[str, Any]
    """Of the OCI image: Env, User, Cmd, WorkingDir."""

    def user(self) -> tuple[int, int]:
        """The numbers of its user and group."""
        user, _, group = str(self.config["User"] or "0:0").partition(":")
        return int(user), int(group)

    def size_bytes(self) -> int:
        """Room that its files take, each once."""
        files = (path.lstat() for path in self.root.rglob("*"))
        return sum({(stat.st_dev, stat.st_ino): stat.st_blocks * 512 for stat in files}.values())

    def command(
        self,
        words: Sequence[str | Path] = (),
        *,
        environment: Mapping[str, str] | None = None,
        mounts: Mapping[str, Path] | None = None,
        read_only: Mapping[str, Path] | None = None,
    ) -> list[str | Path]:
        """What runs `words`, by default the image's own command, in it; makes the mount points, as an engine would.

        Args:
            words: program and arguments.
            environment: variables beside the image's own.
            mounts: path in the image → folder of this machine that the image's user may write to.
            read_only: path in the image → folder of this machine.
        """
        user, group = map(str, self.user())
        variables = dict(text.split("=", 1) for text in self.config["Env"]) | dict(environment or {})
        binds = [("--bind", path, source) for path, source in (mounts or {}).items()]
        binds += [("--ro-bind", path, source) for path, source in (read_only or {}).items()]
        for _, path, _ in binds:
            (self.root / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
        return [
            *("bwrap", "--ro-bind", self.root, "/", "--dev", "/dev", "--proc", "/proc", "--perms", "1777"),
            *("--tmpfs", "/tmp", "--perms", "1777", "--tmpfs", "/dev/shm"),  # noqa: S108
            *(
                "--unshare-pid",
                "--unshare-ipc",
                "--die-with-parent",
                "--chdir",
                self.config["WorkingDir"],
                "--clearenv",
            ),
            *(word for name, value in variables.items() for word in ("--setenv", name, value)),
            *(word for option, path, source in binds for word in (option, source.resolve(), path)),
            *("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP"),
            *("setpriv", "--reuid", user, "--regid", group, "--clear-groups", "--bounding-set=-all", "--no-new-privs"),
            *(words or self.config["Cmd"]),
        ]


@contextmanager
def laid_out(name: str) -> Iterator[Image]:
    """The files of a local image, for the length of the block; what is changed in them is lost."""
    container = _buildah("from", "--pull-never", f"localhost/{name}")
    try:
        config = json.loads(_buildah("inspect", "--type", "image", f"localhost/{name}"))["OCIv1"]["config"]
        yield Image(Path(_buildah("mount", container)), config)
    finally:
        _buildah("rm", container)


def _buildah(*words: str) -> str:
    run = subprocess.run(["buildah", *words], capture_output=True, text=True, check=False)  # noqa: S607 - as in PATH
    if run.returncode:
        raise ContainersError(f"buildah {' '.join(words)}: {run.stderr}")
    return run.stdout.strip()
