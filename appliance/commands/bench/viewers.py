"""`bench --viewers` and `bench --websockets`: what each further client costs the entire daemon."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TextIO

from appliance.commands.bench.cost import (
    ROUNDS,
    Daemon,
    copied_state,
    last_line,
    make_clip,
    open_reader,
    run_daemon,
)
from appliance.configuration.load import Config
from appliance.errors import ApplianceError
from appliance.hardware import board
from appliance.system.native import self_command

PICTURES, READINGS = "/ws/pictures", "/ws/live"

_WARM_UP_S = 1.0


@dataclass(frozen=True)
class ClientCost:
    """`clients` of `path`: processor time of the daemon in ms for each camera frame, in each run.

    `received_per_s`: pictures or messages that one client received in a second. `ratio`: the cost divided by
    that of the first number of clients in the same round, median of the rounds.
    """

    path: str
    clients: int
    milliseconds: tuple[float, ...]
    received_per_s: float
    ratio: float


def print_client_costs(
    config: Config,
    *,
    viewers: Sequence[int],
    websockets: Sequence[int],
    tls: bool,
    seconds: int,
    arguments: Sequence[str],
    as_json: bool,
) -> int:
    """Measure each number of clients for `seconds` in total, and print a table or one JSON object."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "one_face.mp4"
        with open_reader(config) as reader:
            make_clip(reader, clip)
        certificate, settings = _certificate(Path(folder)) if tls else ("", [])
        settings += [f"web.max_viewers={max((*viewers, *websockets))}"]
        with (
            copied_state(config.state_dir) as state,
            run_daemon(clip, state, arguments, settings, certificate) as daemon,
        ):
            wanted = [(PICTURES, viewers), (READINGS, websockets)]
            costs = [
                cost for path, counts in wanted for cost in measure_clients(daemon, path, counts, seconds)
            ]
    if as_json:
        table = [asdict(cost) for cost in costs]
        print(json.dumps({"machine": board.board_name(), "tls": tls, "clients": table}))
    else:
        for line in client_table(costs, tls=tls):
            print(line)
    return 0


def measure_clients(daemon: Daemon, path: str, counts: Sequence[int], seconds: float) -> list[ClientCost]:
    """The cost of each number of clients. The numbers take turns, in each round in the other direction."""
    spent: dict[int, list[float]] = {count: [] for count in counts}
    received: dict[int, list[float]] = {count: [] for count in counts}
    for number in range(ROUNDS):
        for count in counts if number % 2 else reversed(counts):
            with _watching(daemon, path, count) as clients:
                time.sleep(_WARM_UP_S)
                before, began = (clients.received(), *daemon.usage()), time.monotonic()
                time.sleep(seconds / ROUNDS)
                after, lasted = (clients.received(), *daemon.usage()), time.monotonic() - began
            got, used, frames = (last - first for first, last in zip(before, after, strict=True))
            if not frames:
                raise ApplianceError("the daemon captured no frame; see the log of: interview-grader run")
            spent[count].append(1000 * used / frames)
            received[count].append(got / count / lasted)
    return [
        ClientCost(
            path,
            count,
            tuple(round(each, 3) for each in spent[count]),
            round(median(received[count]), 2),
            round(median(one / first for one, first in zip(spent[count], spent[counts[0]], strict=True)), 3),
        )
        for count in counts
    ]


def client_table(costs: Sequence[ClientCost], *, tls: bool) -> Iterator[str]:
    """The costs as Markdown."""
    yield f"Machine: {board.board_name()}; {board.library_versions()}{'; TLS' if tls else ''}"
    yield ""
    yield "| clients | of | entire daemon, ms of processor time per frame | ratio | received by each, per s |"
    yield "|---|---|---|---|---|"
    for each in costs:
        runs = f"{min(each.milliseconds):.2f} to {max(each.milliseconds):.2f}"
        yield (
            f"| {each.clients} | `{each.path}` | {median(each.milliseconds):.2f} "
            f"({len(each.milliseconds)} runs, {runs}) | {each.ratio:.2f} | {each.received_per_s:.1f} |"
        )


class _ClientProcess:
    """The process of the clients, whose cost is not the daemon's."""

    def __init__(self, process: subprocess.Popen[str], log: TextIO) -> None:
        self._process, self._log = process, log

    def wait(self) -> None:
        """Wait until each client has received something; raises `ApplianceError` if one is refused."""
        self._line()

    def received(self) -> float:
        """How many pictures or messages all clients have received."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            return line
        self._process.wait()
        raise ApplianceError(f"a client failed: {last_line(self._log)}")


@contextmanager
def _watching(daemon: Daemon, path: str, count: int) -> Iterator[_ClientProcess]:
    command = self_command("appliance.commands.bench.clients", daemon.url, path, str(count))
    command += [daemon.certificate] if daemon.certificate else []
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        try:
            clients = _ClientProcess(process, log)
            clients.wait()
            yield clients
        finally:
            process.kill()


def _certificate(folder: Path) -> tuple[str, list[str]]:
    """A certificate of the daemon's own kind, and the settings with which the daemon uses it."""
    from appliance.auth.certificate import DeviceCertificate  # slow to load, and needed only here

    certificate, key = DeviceCertificate(folder).current()
    return certificate, [f"access.certificate={certificate}", f"access.key={key}"]
