"""Line 5: the knee of servers whose capacity is known."""

import json

from tests.acceptance.load_runs import FOLDER, load_test
from tests.acceptance.rows import Row, at_most, told
from tests.known_server import known_server

OFF_MAX = 0.1
SERVERS = {"one_server_of_5_ms": (1, 0.005), "eight_servers_of_80_ms": (8, 0.08)}
"""Name → how many, and what each takes for a call, seconds."""


def capacity() -> list[Row]:
    """The command's own search, with the real generator, against each."""
    rows = []
    for name, (servers, seconds) in SERVERS.items():
        with known_server(servers, seconds, FOLDER / f"{name}.log") as address:
            ran = load_test(f"capacity-{name}", "--target", address, "--data", "none", "--profile", "capacity")
        knee = json.loads((ran.folder / "capacity.json").read_text())
        known = servers / seconds
        rows += [
            told(f"{name}_known_calls_per_second", known),
            told(f"{name}_found_calls_per_second", round(knee["rate"], 1)),
            told(f"{name}_runs", len(knee["steps"])),
            told(f"{name}_why", knee["why"]),
            at_most(f"{name}_knee_off_by", round(abs(knee["rate"] / known - 1), 3), OFF_MAX),
        ]
    return rows
