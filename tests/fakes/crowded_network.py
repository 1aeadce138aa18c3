"""A daemon on the network among strangers with addresses of their own, inside a network namespace.

`unshare --net python -m tests.fakes.crowded_network FOLDER hellos|heads ADDRESSES REQUESTS` prints one
line of JSON: how the requests of a logged-in owner were answered, and how long they took.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from subprocess import PIPE
from time import monotonic

from tests.e2e.daemon.driver import running
from tests.fakes.far import Client
from tests.machine import ROOT

DEVICE, OWNER = "198.51.100.1", "198.51.100.2"
FIRST_STRANGER = 10
PASSWORD = "a long enough password"


def main(folder: str, kind: str, addresses: str, requests: str) -> None:
    """Let the crowd come, and make the owner's requests."""
    for command in ("link set lo up", f"address add {DEVICE}/24 dev lo"):
        subprocess.run(["ip", *command.split()], check=True)
    arguments = ("--camera", "demo", "--host", DEVICE)
    with running(Path(folder), *arguments) as daemon:
        owner = Client(daemon.port, Path(folder) / "state", address=DEVICE, source=OWNER)
        code = re.findall(r"[A-Z2-9]{4}-[A-Z2-9]{4}-[A-Z2-9]{4}", daemon.log_lines("FIRST CODE")[0])[0]
        claimed = owner.submit("/login", {"code": code, "password": PASSWORD, "repeat": PASSWORD})
        strangers = [f"198.51.100.{FIRST_STRANGER + number}" for number in range(int(addresses))]
        program = [sys.executable, "-m", "tests.fakes.slow_openers"]
        crowd = subprocess.Popen(
            [*program, DEVICE, str(daemon.port), kind, *strangers],
            stdin=PIPE,
            stdout=PIPE,
            cwd=ROOT,
            text=True,
        )
        with crowd:
            assert crowd.stdin is not None and crowd.stdout is not None
            assert crowd.stdout.readline() == "connected\n"
            answers: Counter[str] = Counter()
            seconds = []
            for _ in range(int(requests)):
                began = monotonic()
                try:
                    answers[str(owner.request("/api/state").status)] += 1
                except OSError as error:
                    answers[type(error).__name__] += 1
                seconds.append(monotonic() - began)
            crowd.stdin.close()
        lines = len(daemon.log_lines("too many connections"))
    p95_ms = round(1000 * sorted(seconds)[int(0.95 * len(seconds))], 1)
    print(json.dumps({"claimed": claimed.status, "answers": answers, "p95_ms": p95_ms, "log_lines": lines}))


if __name__ == "__main__":
    main(*sys.argv[1:])
