"""The images hold what their programs import, and every role has its stage, its program and its pins."""

import os
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from services.images.requirements import FOLDER, ROLES, programs_import, text
from tests.conftest import REPOSITORY_ROOT as ROOT

HINT = "run: python -m services.images.requirements"
STAGES = {
    found["name"]: found["body"]
    for found in re.finditer(
        r"^FROM \S+ AS (?P<name>\S+)\n(?P<body>(?:(?!FROM ).*\n)*)",
        (ROOT / "services/Containerfile").read_text(),
        re.MULTILINE,
    )
}
"""Stage of the Containerfile → its lines."""
ROOMS = {"aisle", "features", "services", "training", "loadtest"}
HEAVY = {"torch", "transformers", "scikit-learn", "matplotlib"}


IMPORT_ALL = """
import importlib, pathlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
if feast_repo := sys.modules.get("features.feast_repo"):
    feast_repo.repo_config(pathlib.Path("repo"), "127.0.0.1:6379", "shop")  # which imports more
"""


def pinned(role: str) -> dict[str, str]:
    """Name → version of what the role's image installs."""
    lines = (FOLDER / f"{role}.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


@pytest.mark.parametrize("role", ROLES)
def test_the_committed_pins_are_those_that_the_code_makes(role: str) -> None:
    assert (FOLDER / f"{role}.txt").read_text() == text(ROLES[role]), HINT


def test_every_role_has_its_stage_and_its_pins() -> None:
    installing = {name for name, body in STAGES.items() if "\nCMD " in body}
    assert installing == set(ROLES)
    assert {path.stem for path in FOLDER.iterdir()} == {*ROLES, "tools"}


@pytest.mark.parametrize("role", ROLES)
def test_an_image_runs_a_program_of_its_role_and_has_the_rooms_for_all_of_them(role: str) -> None:
    command = re.search(r'CMD \["python", "-m", "([\w.]+)"\]', STAGES[role])
    assert command is not None
    assert {command[1], f"{command[1]}.__main__"} & set(ROLES[role].programs)
    code = re.search(r"--from=(\S+) /app", STAGES[role])
    assert code is not None
    copied = set(re.findall(r"^COPY \S+ (\w+)$", STAGES["code"], re.MULTILINE))
    if code[1] != "code":
        copied |= set(re.findall(r"^COPY \S+ (\w+)$", STAGES[code[1]], re.MULTILINE))
    reached = {module.partition(".")[0] for module in programs_import(ROLES[role].programs)} & ROOMS
    assert reached <= copied


def test_only_training_has_torch() -> None:
    with_torch = {role for role in ROLES if {"torch", "transformers"} & pinned(role).keys()}
    assert with_torch == {"training"}
    assert HEAVY & pinned("ranking").keys() == set()


def test_what_the_older_python_of_the_base_needs_is_installed() -> None:
    assert "async-timeout" in pinned("ranking")  # redis asks for it before 3.11.3


def installed_alone(names: list[str], folder: Path) -> None:
    """Links to the files of these distributions, in the places that an installation gives them."""
    for name in names:
        for file in distribution(name).files or ():
            place = folder / file
            if ".." not in file.parts and not place.is_symlink():
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(file.locate())


@pytest.mark.parametrize("role", sorted(ROLES.keys() - {"training"}))  # whose libraries take half a minute to import
def test_the_programs_of_a_role_import_with_nothing_else_installed(role: str, tmp_path: Path) -> None:
    installed_alone(list(pinned(role)), tmp_path)
    programs = ROLES[role].programs
    others = sorted(programs_import(programs) - set(programs) - {"_typeshed"})
    run = subprocess.run(
        [sys.executable, "-S", "-c", IMPORT_ALL, *programs, *others],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (tmp_path, ROOT, ROOT / "protos")))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]


def test_a_base_that_is_not_named_by_its_digest_is_refused() -> None:
    run = subprocess.run(
        [str(ROOT / "services/images/build.sh")],
        env=os.environ | {"BASE_IMAGE": "debian:12"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (2, "BASE_IMAGE=debian:12: name it by digest, NAME@sha256:…\n")
