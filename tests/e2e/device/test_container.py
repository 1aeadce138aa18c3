"""The container: built from the Dockerfile, its root file system read-only, its own user, its own commands.

Nothing here needs a container service: buildah builds with chroot isolation. If no image registry can be
reached, mmdebstrap makes the base image; the test prints which one it is. The image's program then runs as in
`compose.yaml`: as the image's user, without capabilities, with only /tmp and the volume writable.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.device.booted import cache
from tests.machine import ROOT

TOOLS = ("buildah", "mmdebstrap")
REGISTRY = "docker.io/library/debian:trixie-slim"
BASE = "localhost/interview-grader-base"
IMAGE = "localhost/interview-grader"
READY_S, STOP_S = 60.0, 10.0
DEBIAN = ("mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates", "trixie")

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="no image can be built: not root"),
    pytest.mark.skipif(
        not all(map(shutil.which, TOOLS)),
        reason="no image can be built: buildah and mmdebstrap are not installed",
    ),
]


@dataclass
class Builder:
    """buildah with its own storage."""

    folder: Path

    def run(self, *words: str, limit_s: float = 400.0, check: bool = True) -> str:
        """Run buildah; returns its output. Raises `TimeoutExpired` after ending all of its processes."""
        where = [f"--root={self.folder}/root", f"--runroot={self.folder}/run"]
        pipe = subprocess.PIPE
        with subprocess.Popen(
            ["buildah", *where, *words], stdout=pipe, stderr=pipe, text=True, start_new_session=True
        ) as process:
            try:
                out, error = process.communicate(timeout=limit_s)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        if check:
            assert process.returncode == 0, f"{' '.join(words)}:\n{out[-3000:]}{error[-3000:]}"
        return out.strip() if process.returncode == 0 else ""


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    one = Builder(tmp_path_factory.mktemp("containers"))
    yield one
    one.run("rm", "--all", check=False)
    shutil.rmtree(one.folder)


def base_image(builder: Builder) -> str:
    """The Dockerfile's base from its registry, or one made here."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        if builder.run("pull", "--quiet", "--retry", "0", REGISTRY, limit_s=60, check=False):
            print(f"base image: {REGISTRY}")
            return REGISTRY
    print("base image: made by mmdebstrap, since no image registry can be reached")
    container = builder.run("from", "scratch")
    builder.run("add", container, str(debian()), "/")
    builder.run("commit", "--quiet", "--rm", container, BASE)
    return BASE


def debian() -> Path:
    """A bare Debian as an archive, made if it is not in the cache."""
    made = cache() / f"container-{hashlib.sha256(' '.join(DEBIAN).encode()).hexdigest()[:12]}.tar"
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        part = made.with_suffix(f".{os.getpid()}.tar")
        done = subprocess.run(["nice", *DEBIAN, str(part)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        part.rename(made)
    return made


@pytest.fixture(scope="module")
def image(builder: Builder) -> dict[str, Any]:
    """The built image's configuration."""
    command = ["bud", "--isolation", "chroot", "--format", "docker", "--layers=false", "--tag", IMAGE]
    command += ["--build-arg", f"BASE={base_image(builder)}"]
    # This host may be behind a proxy with its own certificate: add the host's authorities to the image's.
    authorities = "/etc/ssl/certs/ca-certificates.crt"
    command += ["--volume", f"{authorities}:/usr/local/share/ca-certificates/host.crt:ro"]
    command += ["--volume", f"{authorities}:{authorities}:ro"]
    builder.run(*command, str(ROOT))
    config: dict[str, Any] = json.loads(builder.run("inspect", "--type", "image", IMAGE))["Docker"]["config"]
    return config


def test_it_has_its_own_user_a_health_check_and_a_volume(image: dict[str, Any]) -> None:
    assert image["User"] == "interview-grader"
    assert image["Volumes"] == {"/var/lib/interview-grader": {}}
    assert image["Healthcheck"]["Test"][0] == "CMD"
    assert image["Entrypoint"] == ["interview-grader"]


def test_compose_removes_all_rights() -> None:
    [service] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"].values()
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["tmpfs"] == ["/tmp"]
    assert service["volumes"] == ["state:/var/lib/interview-grader"]
    assert service["devices"] == ["${CAMERA:-/dev/null}:/dev/video0"]
    assert not service.get("privileged")


@dataclass
class Container:
    """The image's file system, read-only, in its own mount namespace."""

    root: Path
    state: Path
    config: dict[str, Any]

    def command(self, *words: str) -> list[str]:
        """A command that runs `words` inside, as the image's user and without capabilities."""
        root = self.root
        mounts = [
            f"mount --bind {root} {root}",
            f"mount -o remount,bind,ro {root}",
            f"mount -t tmpfs tmpfs {root}/tmp",
            f"mount -t proc proc {root}/proc",
            f"mount -t tmpfs tmpfs {root}/dev",
            f"mknod -m 666 {root}/dev/null c 1 3",
            f"mknod -m 666 {root}/dev/urandom c 1 9",
            f"mknod -m 666 {root}/dev/video0 c 1 3",  # as compose.yaml does without a camera
            f"mkdir -m 1777 {root}/dev/shm",
            f"mount --bind {self.state} {root}/var/lib/interview-grader",
        ]
        script = " && ".join(mounts) + f' && exec chroot {root} setpriv "$@"'
        who = ["--reuid=8443", "--regid=8443", "--groups=44", "--no-new-privs", "--bounding-set=-all"]
        environment = ["--inh-caps=-all", "env", "-i", *self.config["Env"]]
        return ["unshare", "--mount", "bash", "-euc", script, "_", *who, *environment, *words]


@pytest.fixture
def container(builder: Builder, image: dict[str, Any], tmp_path: Path) -> Iterator[Container]:
    name = builder.run("from", "--pull-never", IMAGE)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    os.chown(state, 8443, 8443)
    yield Container(Path(builder.run("mount", name)), state, image)
    builder.run("rm", name)


def free_port() -> str:
    """A port other than the image's, which this machine may use."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def test_it_answers_healthy_with_a_read_only_root(container: Container, tmp_path: Path) -> None:
    config = container.config
    touch = subprocess.run(container.command("touch", "/opt/x"), capture_output=True, text=True, check=False)
    assert "Read-only file system" in touch.stderr
    port = free_port()
    check = [word.replace("8443", port) for word in config["Healthcheck"]["Test"][1:]]
    command = [word.replace("8443", port) for word in (*config["Entrypoint"], *config["Cmd"])]
    log = tmp_path / "log"
    with log.open("wb") as output:
        daemon = subprocess.Popen(container.command(*command), stdout=output, stderr=output)
    try:
        end = time.monotonic() + READY_S
        while "is ready" not in log.read_text():
            assert daemon.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        done = subprocess.run(container.command(*check), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + log.read_text()
        assert "no V4L2 capture device" in log.read_text(), "the device in place of a camera is none"
        assert "FIRST CODE" in log.read_text()
        owner = {each.stat().st_uid for each in container.state.rglob("*")}
        assert owner == {8443}
    finally:
        daemon.send_signal(signal.Signals[config["StopSignal"]])
        assert daemon.wait(STOP_S) == 0, log.read_text()
    done = subprocess.run(container.command(*check), capture_output=True, text=True, check=False)
    assert done.returncode != 0, "a daemon that is gone is not healthy"
