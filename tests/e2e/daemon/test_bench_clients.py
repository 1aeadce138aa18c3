"""`bench --viewers`, `--websockets` and `--webcam` measure a real daemon with real clients."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from appliance.commands.bench.daemon_process import READINGS, run_daemon
from appliance.commands.bench.viewers import measure_clients
from appliance.errors import ApplianceError
from appliance.system.native import self_command
from appliance.system.resources import demo_clip
from tests.e2e.daemon.driver import command


@pytest.mark.parametrize(
    ("options", "clients"),
    [(["--viewers", "1,3", "--websockets", "2"], [1, 3, 2]), (["--viewers", "2", "--tls"], [2])],
    ids=["plain", "tls"],
)
def test_the_daemon_is_measured_with_each_number_of_clients(
    tmp_path: Path, options: list[str], clients: list[int]
) -> None:
    done = command("bench", *options, "--seconds", "2", "--json", "--data-dir", str(tmp_path), limit_s=110)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["tls"] is ("--tls" in options)
    assert [each["clients"] for each in found["clients"]] == clients
    for each in found["clients"]:
        assert min(each["milliseconds"]) > 0 and each["received_per_s"] > 1
    assert found["clients"][0]["ratio"] == 1
    assert [each["clients"] for each in found["clients"] if each["path"] == READINGS] == clients[2:]
    assert list(tmp_path.iterdir()) == [], "it leaves nothing behind"


def test_the_latency_of_a_webcam_is_measured(tmp_path: Path) -> None:
    done = command("bench", "--webcam", "--seconds", "2", "--json", "--data-dir", str(tmp_path), limit_s=110)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["webcam"]
    assert 0 < found["answer_ms"] <= found["answer_95_ms"] and found["vision_ms"] > 0
    assert found["answers_per_s"] > 1 and found["room_per_s"] > 1
    assert list(tmp_path.iterdir()) == [], "it leaves nothing behind"


def test_a_client_that_is_refused_is_reported(tmp_path: Path) -> None:
    with (
        run_daemon(demo_clip(), tmp_path, []) as daemon,
        pytest.raises(ApplianceError, match=r"a client failed: .*404"),
    ):
        measure_clients(daemon, "/ws/none", [2], 1)


def test_pictures_are_acknowledged() -> None:
    """A server of `/ws/pictures` sends the next picture only after the last was shown."""
    all_shown = asyncio.Event()

    async def send_pictures(client: ServerConnection) -> None:
        for frame in range(3):
            head = json.dumps({"frame": frame}).encode()
            await client.send(len(head).to_bytes(4, "big") + head + b"\xff\xd8")
            assert json.loads(await client.recv()) == {"shown": frame}
        all_shown.set()
        await client.wait_closed()

    async def watch() -> tuple[str, str]:
        async with serve(send_pictures, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            program, *words = self_command(
                "appliance.commands.bench.clients", f"http://127.0.0.1:{port}/", "/ws/pictures", "1"
            )
            assert program == sys.executable
            clients = await asyncio.create_subprocess_exec(
                program, *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
            assert clients.stdin and clients.stdout
            first = (await clients.stdout.readline()).decode()
            await all_shown.wait()
            clients.stdin.write(b"\n")
            count = (await clients.stdout.readline()).decode()
            clients.stdin.close()
            assert await clients.wait() == 0
            return first.strip(), count.strip()

    first, count = asyncio.run(asyncio.wait_for(watch(), 30))
    assert (first, count) == ("watching", "3")
