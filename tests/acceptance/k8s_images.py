"""Line 4 of AREA=k8s: the images are built, small, and each does its work as a user without rights, on a root that
cannot be written: one trains, others fill the stores, serve and visit."""

import json
import re
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from aisle.v1 import recommendation_service_pb2 as messages

from services.client import RecommendationClient
from services.images.requirements import FOLDER, ROLES
from tests.acceptance.containers import Image, install_programs, laid_out
from tests.acceptance.rows import Row, at_least, at_most, holds, told
from tests.acceptance.shop_in_images import ShopInImages

_RANKING_MB_MAX = 1200.0
_RANKING_MB_GOAL = 900.0
_ITEMS = 10
_GPU_MODELS = 4
"""Tokenizer, encoder, both as one, and the interest tower."""
_FOR_YOU = messages.PLACEMENT_RECOMMENDED_FOR_YOU


def images() -> list[Row]:
    """Line 4."""
    install_programs()
    subprocess.run(["make", "images"], check=True)  # noqa: S607 - as in PATH
    with ExitStack() as laying, TemporaryDirectory(prefix="aisle-images-") as folder:
        laid = {role: laying.enter_context(laid_out(f"aisle-{role}")) for role in ROLES}
        return [
            *_sizes(laid),
            *_contents(laid),
            *_at_work(laid, Path(folder)),
        ]


def _sizes(laid: Mapping[str, Image]) -> list[Row]:
    megabytes = {role: round(image.size_bytes() / 1e6) for role, image in laid.items()}
    return [
        at_most("ranking: MB unpacked, without its bundle", megabytes["ranking"], _RANKING_MB_MAX),
        told(f"ranking: within the goal of {_RANKING_MB_GOAL:g} MB", str(megabytes["ranking"] <= _RANKING_MB_GOAL)),
        *(told(f"{role}: MB unpacked", size) for role, size in megabytes.items() if role != "ranking"),
    ]


def _contents(laid: Mapping[str, Image]) -> list[Row]:
    with_torch = {role for role, image in laid.items() if _packages(image) & {"torch", "transformers"}}
    told_of = {role for role, image in laid.items() if _named_in_bill(image) == _pinned(role)}
    return [
        holds("torch and transformers in the training image alone", value=with_torch == {"training"}),
        holds("every bill of materials lists what is pinned and no more", value=told_of == set(laid)),
        holds("no image runs as root", value=all(image.user()[0] > 0 for image in laid.values())),
        holds("no root can be written", value=not any(map(_can_write, laid.values()))),
    ]


def _packages(image: Image) -> set[str]:
    """Names of the folders that Python finds in an image."""
    return {path.name for path in image.root.glob("opt/aisle/lib/python3*/site-packages/*")}


def _named_in_bill(image: Image) -> set[str]:
    """`name==version` of all that was installed; for whom a version was built (torch's `+cpu`) is left out."""
    bill = json.loads((image.root / "opt/aisle/share/sbom.json").read_text())
    return {f"{_canonical(part['name'])}=={part['version'].partition('+')[0]}" for part in bill["components"]}


def _pinned(role: str) -> set[str]:
    lines = [line for line in (FOLDER / f"{role}.txt").read_text().splitlines() if not line.startswith("#")]
    return {f"{_canonical(name)}=={version}" for name, _, version in (line.partition("==") for line in lines)}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _can_write(image: Image) -> bool:
    """Whether its user can make a file anywhere in the root."""
    search = "find / -xdev -writable -not -type l -not -path '/proc/*' -not -path '/dev/*' -not -path '/tmp' | head -1"
    run = subprocess.run(image.command(["sh", "-c", search]), capture_output=True, text=True, check=False)
    tried = subprocess.run(image.command(["touch", "/app/made"]), capture_output=True, check=False)
    return bool(run.stdout.strip()) or tried.returncode == 0


def _at_work(laid: Mapping[str, Image], folder: Path) -> list[Row]:
    """Every image does what it is for; what fails ends the line with the end of its log."""
    shop = ShopInImages(laid, folder)
    shop.train()
    models = shop.gpu_models()
    with shop.serving(), RecommendationClient(shop.address("ranking"), timeout_seconds=10.0) as client:
        reply = client.recommend(messages.RecommendRequest(placement=_FOR_YOU, user_id="1", page_size=_ITEMS))
        degradations = [messages.Degradation.Name(value) for value in reply.degradations]
        status, run = shop.visit()
    return [
        holds("training, materialise, seed: done; triton, retrieval, ranking, ingest, updater: serving", value=True),
        holds("the GPU's models are built by the pod's own command", value=len(models) == _GPU_MODELS),
        at_least("items of a Recommend", len(reply.results), _ITEMS),
        holds("nothing was missing in that reply", value=not degradations),
        told("what was", ", ".join(degradations) or "nothing"),
        holds("a load test of that shop is judged", value=(run / "verdict.json").is_file()),
        told("its status", status),
    ]
