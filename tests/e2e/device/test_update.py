"""Updates of a booted device: good, bad, interrupted by a power cut, from a laptop over ssh.

The releases are small ones, on a device that has their libraries. The tests go from top to bottom on it.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import appliance
from tests.e2e.device.booted import DEVICE, Booted, wait_for
from tests.e2e.device.bundles import LIBRARIES, PYTHONS
from tests.fakes import releases as variants
from tests.machine import ROOT

pytestmark = pytest.mark.timeout(600)

SUITE = "bookworm"
OLD, NEW, BAD = appliance.__version__, "9.1.0", "9.2.0"
UNIT = "interview-grader.service"
RETENTION = "interview-grader-retention.service"
UPDATE = "/usr/local/sbin/interview-grader-update"
OPT, STATE = "/opt/interview-grader", "/var/lib/interview-grader"

ASK = """
import ssl, urllib.request
context = ssl._create_unverified_context()
token = open("/var/lib/interview-grader/local-token").read()
asked = urllib.request.Request("https://127.0.0.1{path}", headers=dict(Authorization=f"Bearer {{token}}"))
print(urllib.request.urlopen(asked, context=context).read().decode())
"""


@pytest.fixture(scope="module")
def shared(share: Callable[[str], Path]) -> Path:
    """What the device has as /share: its own bundle, and newer ones."""
    folder = share(SUITE)
    python = PYTHONS[SUITE]
    more = {"system": variants.NEW_SYSTEM, "python": python}
    for version, edits in ((NEW, variants.MIGRATES), (BAD, variants.CRASHES)):
        known = {**edits, **variants.KNOWS_A_NEW_SETTING}
        made = variants.make_bundle(folder, folder / "key", version, known, LIBRARIES, **more)
        made.rename(folder / version)
    stranger = variants.make_key(folder, "stranger")
    variants.make_bundle(folder, stranger, NEW, {}, LIBRARIES, python=python).rename(folder / "strange")
    return folder


@pytest.fixture(scope="module")
def device(shared: Path, system: Callable[..., list[Path]]) -> Iterator[Booted]:
    """An installed device that could play the demo clip."""
    with Booted(system(SUITE), shared) as booted:
        wish = booted.path("/etc/interview-grader/config.d/test.toml")
        wish.parent.mkdir(parents=True)
        wish.write_text('[camera]\nbackend = "demo"\nneeds_agreement = true\n')
        booted.run(
            "/share/checkout/setup.sh", "install", "--offline", "/share/bundle", "--signers", "/share/signers"
        )
        yield booted


def runs(device: Booted) -> str:
    """The version that answers, as soon as one does."""
    pages: list[str] = []

    def answers() -> bool:
        pages.append(device.says("python3", "-c", ASK.format(path="/about")))
        return "<p>Version " in pages[-1]

    wait_for(answers, 60, lambda: device.journal("-u", UNIT, "-n", "40"))
    return pages[-1].rpartition("<p>Version ")[2].partition("<")[0]


def system_of(device: Booted) -> dict[str, str]:
    """The system files and settings of a release."""
    return {
        "service": device.says("systemctl", "show", "--value", "-p", "Description", UNIT).partition(" ")[0],
        "timer": device.says("systemctl", "is-enabled", "interview-grader-extra.timer") or "absent",
        "runs": device.says("systemctl", "is-active", "interview-grader-extra.timer"),
        "groups": str("igextra" in device.says("id", "-nG", "interview-grader").split()),
        "board": str("novelty" in device.path("/usr/lib/interview-grader/board.toml").read_text()),
    }


BEFORE = {"service": "Interview", "timer": "absent", "runs": "inactive", "groups": "False", "board": "False"}


def step_of(device: Booted) -> str:
    """The current step of a change, "" without one."""
    try:
        return str(json.loads(device.path(f"{OPT}/changing.json").read_text())["step"])
    except (OSError, ValueError):
        return ""


def outcome(device: Booted) -> dict[str, str]:
    return dict(json.loads(device.path(f"{STATE}/update.json").read_text()))


def test_a_bundle_of_an_unknown_signer_changes_nothing(device: Booted) -> None:
    def files() -> set[str]:
        found = device.says(
            "find", OPT, "-maxdepth", "3", "!", "-name", "update.lock", "-type", "f", "-printf", "%p %t\\n"
        )
        return {*found.splitlines()}

    before = files()
    done = device.run(UPDATE, "/share/strange", check=False)
    assert done.returncode == 2 and "a key that this device does not know" in done.stderr
    assert done.stderr.count("\n") == 1
    assert files() == before != set()
    assert runs(device) == OLD


def test_a_version_that_does_not_start_is_rolled_back(device: Booted) -> None:
    done = device.run(UPDATE, f"/share/{BAD}", check=False)
    assert done.returncode == 1 and f"{OLD} runs as before" in done.stderr, done.stderr
    assert runs(device) == OLD
    assert outcome(device)["outcome"] == "failed" and "does not start" in outcome(device)["reason"]
    assert BAD not in device.run(UPDATE, "list").stdout
    # The group stays: it does no harm, and its files would have no group.
    assert system_of(device) == {**BEFORE, "groups": "True"}
    assert device.says("systemctl", "--failed", "--no-legend") == ""


@pytest.mark.parametrize("step", ["install", "confirm"])
def test_a_power_cut_in_the_middle_is_rolled_back(device: Booted, step: str) -> None:
    device.run("systemd-run", "--unit=updating", "--collect", UPDATE, f"/share/{NEW}")
    wait_for(lambda: step_of(device) == step, 120, lambda: device.journal("-u", "updating"))
    device.cut_power()
    device.power_on()
    assert runs(device) == OLD
    assert step_of(device) == ""
    told = outcome(device)
    assert (told["version"], told["outcome"]) == (OLD, "interrupted")
    assert step in told["reason"] and NEW not in device.run(UPDATE, "list").stdout
    assert "rolled back" in device.journal("-t", "interview-grader-update", "-b")


def test_a_killed_updater_leaves_no_device_without_a_service(device: Booted) -> None:
    """Killed for lack of memory, for example, with no one to restart the device."""
    device.run("systemd-run", "--unit=updating", "--collect", UPDATE, f"/share/{NEW}")
    wait_for(
        lambda: step_of(device) in ("switch", "start", "confirm"),
        120,
        lambda: device.journal("-u", "updating"),
    )
    device.run("systemctl", "kill", "--signal=KILL", "updating")
    wait_for(lambda: not step_of(device), 120, lambda: device.journal("-u", "interview-grader-take-back"))
    assert runs(device) == OLD
    assert (outcome(device)["version"], outcome(device)["outcome"]) == (OLD, "interrupted")
    wait_for(lambda: "take-back" not in device.says("systemctl", "list-units"), 20, lambda: "it stays")


def test_a_good_version_is_installed_from_a_laptop(device: Booted, shared: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    authorized = device.path("/root/.ssh/authorized_keys")
    authorized.parent.mkdir(mode=0o700, exist_ok=True)
    authorized.write_text(key.with_suffix(".pub").read_text())
    options = f"-i {key} -o StrictHostKeyChecking=no -o UserKnownHostsFile={tmp_path}/known -o BatchMode=yes"
    for name in ("ssh", "scp"):
        (tmp_path / name).write_text(f'#!/bin/sh\nexec /usr/bin/{name} -q {options} "$@"\n')
        (tmp_path / name).chmod(0o755)
    push = [str(ROOT / "provisioning" / "push"), f"root@{DEVICE}", str(shared / NEW)]
    done = device.viewer("env", f"PATH={tmp_path}:{os.environ['PATH']}", *push)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"updated from {OLD} to {NEW}" in done.stdout
    assert runs(device) == NEW
    assert outcome(device)["outcome"] == "updated"
    after = {"service": "Renewed", "timer": "enabled", "runs": "active", "groups": "True", "board": "True"}
    assert system_of(device) == after
    assert device.says("ls", "/var/tmp").count("interview-grader-") == 0
    told = device.run(f"{OPT}/current/venv/bin/interview-grader", "audit", "show", "--data-dir", STATE).stdout
    assert f"before={OLD} now={NEW}" in told


def test_a_rollback_to_the_previous_version(device: Booted) -> None:
    said = device.run(UPDATE, "rollback").stdout
    assert f"rolled back from {NEW} to {OLD}" in said
    assert runs(device) == OLD
    assert f"* {OLD}" in device.run(UPDATE, "list").stdout
    assert system_of(device) == {**BEFORE, "groups": "True"}
    assert not device.path("/etc/systemd/system/interview-grader-extra.timer").exists()
    installed = device.run("/share/checkout/setup.sh", "install", "--offline", "/share/bundle").stdout
    assert "nothing was changed" in installed, installed


def test_an_update_cut_off_while_tidying_is_finished_at_the_next_boot(device: Booted) -> None:
    """In the sandbox of the unit, which must also reach systemd."""
    change = {"kind": "rollback", "old": OLD, "new": OLD, "step": "tidy"}
    device.path(f"{OPT}/changing.json").write_text(json.dumps(change))
    (device.path(OPT) / "incoming").mkdir()
    device.path(f"{STATE}/update.json").unlink()
    device.run("systemctl", "start", "interview-grader-recover.service")
    assert step_of(device) == "" and not (device.path(OPT) / "incoming").exists()
    assert outcome(device)["outcome"] == "rolled back", device.journal("-t", "interview-grader-update", "-b")


def test_the_installer_waits_for_an_update_and_refuses_after_an_interrupted_one(device: Booted) -> None:
    install = ("/share/checkout/setup.sh", "install", "--offline", "/share/bundle")
    device.run("systemd-run", "--quiet", "--unit=holder", "flock", f"{OPT}/update.lock", "sleep", "5")
    device.run(*install)
    assert device.says("systemctl", "is-active", "holder") == "inactive"
    cut_off = device.path(f"{OPT}/changing.json")
    cut_off.write_text("{}")
    done = device.run(*install, check=False)
    device.run("systemctl", "start", RETENTION)
    swept = device.says("systemctl", "show", "--value", "-p", "ConditionResult", RETENTION)
    cut_off.unlink()
    assert swept == "no", "an update has the records to itself"
    assert done.returncode == 2 and "interview-grader-update recover" in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1
