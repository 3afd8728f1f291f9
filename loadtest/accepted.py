"""The last accepted run of each environment and profile: a folder with a copy of it, replaced whole."""

import json
import secrets
import shutil
from pathlib import Path

from loadtest.recording import RunFacts, read_run
from loadtest.verdict import Verdict

ACCEPTED = Path("build/loadtest/accepted")
_REASON = "accepted.json"


def accepted_run(facts: RunFacts, root: Path = ACCEPTED) -> Path | None:
    """The folder that a run is compared with; None before the first."""
    folder = root / f"{facts.environment}-{facts.profile}"
    return folder if folder.is_dir() else None


def accept(folder: Path, verdict: Verdict, override: str | None, root: Path = ACCEPTED) -> str:
    """Make a run the accepted one, or not; a sentence that says which.

    An invalid run is never accepted: it says nothing. One that fails is accepted with a reason, which is kept.
    """
    if verdict.outcome == "invalid" or (verdict.outcome == "fail" and not override):
        return f"not accepted: the verdict is {verdict.outcome}"
    _, facts, _ = read_run(folder)
    place = root / f"{facts.environment}-{facts.profile}"
    aside, old = (place.with_name(f".{place.name}.{secrets.token_hex(4)}.{end}") for end in ("new", "old"))
    shutil.copytree(folder, aside)
    reason = {"from": str(folder), "outcome": verdict.outcome, "override": override}
    (aside / _REASON).write_text(json.dumps(reason, indent=2) + "\n")
    if place.exists():
        place.rename(old)
    aside.rename(place)
    shutil.rmtree(old, ignore_errors=True)
    return f"accepted: {place}"
