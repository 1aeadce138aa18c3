"""Back up, and replace a card: the commands of docs/operations.md, typed on a booted device."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.commands.records import PASSPHRASE
from tests.e2e.device.booted import Booted, wait_for
from tests.machine import ROOT

pytestmark = pytest.mark.timeout(600)

SUITE = "trixie"
INSTALL = ["/share/checkout/setup.sh", "install", "--offline", "/share/bundle", "--signers", "/share/signers"]
UNIT = "interview-grader.service"
OWNERS, STATE = "/etc/interview-grader", "/var/lib/interview-grader"
WISH = (
    '[camera]\nbackend = "demo"\nneeds_agreement = true\n[lawful]\nregion = "other"\npurpose = "practice"\n'
    '[access]\nloopback = "operator"\n'
)
WORDS = "a horse and a battery"

ASK = """
import json, ssl, sys, urllib.request

path, *content = sys.argv[1:]
asked = urllib.request.Request("https://127.0.0.1" + path, *(each.encode() for each in content))
asked.add_header("Content-Type", "application/json")
print(urllib.request.urlopen(asked, context=ssl._create_unverified_context()).read().decode())
"""


@pytest.fixture
def device(share: Callable[[str], Path], system: Callable[..., list[Path]]) -> Iterator[Booted]:
    """A fresh Debian with the owner's settings and a USB stick."""
    with Booted(system(SUITE), share(SUITE)) as booted:
        booted.path("/media/stick").mkdir(parents=True)
        wish = booted.path(f"{OWNERS}/config.d/mine.toml")
        wish.parent.mkdir(parents=True)
        wish.write_text(WISH)
        shutil.copy(Path(__file__).with_name("typed.py"), booted.path("/root"))
        yield booted


def typed_in_the_docs() -> list[list[str]]:
    """The lines of each block of commands in that section."""
    text = (ROOT / "docs/operations.md").read_text()
    section = text.partition("## Back up, and replace a card\n")[2].partition("\n## ")[0]
    return [block.strip().splitlines() for block in re.findall(r"```\n(.*?)```", section, re.DOTALL)]


def type_in(device: Booted, lines: list[str]) -> str:
    """Type them one after the other, and the passphrase when asked; returns the output of the last one."""
    shown = [device.run("python3", "/root/typed.py", line, WORDS).stdout for line in lines]
    return shown[-1]


def test_the_records_of_a_card_are_restored_on_another(device: Booted) -> None:
    back_up, restore = typed_in_the_docs()
    device.run(*INSTALL)
    record(device)
    listed = device.says("interview-grader", "sessions", "list")
    assert len(listed.splitlines()) == 1
    type_in(device, back_up)
    device.run("cp", "--archive", OWNERS, "/media/stick/settings")

    become_a_new_card(device)
    device.run(*INSTALL)
    assert device.says("interview-grader", "sessions", "list") == ""
    device.run("cp", "--archive", "/media/stick/settings/.", OWNERS)
    device.run("systemctl", "restart", UNIT)
    assert "restored 1 sessions" in type_in(device, restore)

    assert device.says("interview-grader", "sessions", "list") == listed
    [session] = ask(device, "/api/sessions")["sessions"]
    assert session["id"] in listed, "the page shows it, without a restart"
    assert device.says("find", STATE, "!", "-user", "interview-grader") == ""
    for kind, beginning in (("pdf", "%PDF-"), ("csv", "#"), ("json", "{")):
        fetch = ASK.replace(".decode()", ".decode('latin-1')")
        made = device.says("python3", "-c", fetch, f"/sessions/{session['id']}/export.{kind}")
        assert made.startswith(beginning)
    backup_elsewhere(device)
    ask(device, f"/sessions/{session['id']}/erase", {})
    assert device.path("/srv/out/mine").exists(), "as the message said"
    assert not device.path(f"{STATE}/exports/records.backup").exists()
    assert ask(device, "/api/sessions")["sessions"] == []
    assert device.run("interview-grader", "audit", "verify").returncode == 0
    assert "action=restored" in device.says("interview-grader", "audit", "show")


def backup_elsewhere(device: Booted) -> None:
    """In a home, where the service's user may not write, and where the user may, but the service cannot."""
    device.run("install", "-d", "-o", "interview-grader", "/srv/out")
    refused = device.run("interview-grader", "backup", "/root/mine", check=False, **{PASSPHRASE: WORDS})
    assert refused.returncode == 1 and "/root/mine: cannot be read or written" in refused.stderr
    done = device.run("interview-grader", "backup", "/srv/out/mine", **{PASSPHRASE: WORDS})
    assert "it stays until you delete it" in done.stdout


def become_a_new_card(device: Booted) -> None:
    """Uninstall it, and erase the owner's data with the printed command."""
    said = device.run("/opt/interview-grader/current/setup.sh", "install", "--uninstall").stdout
    [erase] = re.findall(r"rm -rf? .*", said)
    device.run("sh", "-c", erase)
    assert not device.path(OWNERS).exists() and not device.path(STATE).exists()


def record(device: Booted) -> None:
    """A session of some seconds, by the operator's requests."""
    version = ask(device, "/api/state")["notice"]["version"]
    ask(device, "/api/session/start", {"notice_version": version, "people": 1})
    ask(device, "/api/session/record", {})
    wait_for(
        lambda: ask(device, "/api/sessions")["sessions"][0]["seconds"] >= 3, 60, lambda: "nothing is recorded"
    )
    ask(device, "/api/session/stop", {})


def ask(device: Booted, path: str, *content: object) -> dict:
    """JSON of the service, asked on the device itself, which needs no login with these settings."""
    done = device.run("python3", "-c", ASK, path, *(json.dumps(each) for each in content))
    return json.loads(done.stdout)
