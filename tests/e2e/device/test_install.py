"""`setup.sh install` on a booted device, and the service in its sandbox.

The tests of one suite share a device and go from top to bottom: bare, installed, running, removed.
A container has no camera: the service plays the demo clip. Camera and pins are tested in a virtual machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from device.bundle import latest, signing
from playwright.sync_api import expect, sync_playwright

from appliance.inference.compiled import LISTING
from appliance.inference.manifest import file_digest
from tests.e2e.device.booted import DEVICE, NAME, Booted, base_system, wait_for
from tests.fakes.releases import make_key
from tests.machine import ROOT
from tests.vendor_stubs.edgetpu import Stick, library

pytestmark = pytest.mark.timeout(600)

SETUP = "/share/checkout/setup.sh"
INSTALL = (SETUP, "install", "--offline", "/share/bundle", "--signers", "/share/signers")
UNIT = "interview-grader.service"
WATCH_S = int(os.environ.get("WATCH_S", "10"))
"""How long writes are watched, live and idle each: `make wear` takes five minutes."""

LIVE = '[camera]\nbackend = "demo"\n'
IDLE = f"{LIVE}needs_agreement = true\n"
"""It analyses no one, which leaves the processor to tests of other things."""

WISH = "/etc/interview-grader/config.d/test.toml"
LAMPS = '[lamps]\nbackend = "gpiozero"\nfactory = "mock"\n'
CHROMIUM, PASSWORD = "/usr/bin/chromium", "a long enough password"
GAVE_UP = "interview-grader-gave-up.service"
EVIL = """
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>
__attribute__((constructor)) static void loaded(void) {
  FILE *file = fopen("/var/lib/interview-grader/loaded-by", "w");
  if (file) fprintf(file, "%d", (int)getuid()), fclose(file);
  open("/dev/tty", O_RDWR);
  for (int fd = 0; fd < 64; fd++) ioctl(fd, TIOCSCTTY, 0);
  for (int fd = 0; fd < 64; fd++)
    for (const char *key = "touch /root/owned\\n"; *key; key++) ioctl(fd, TIOCSTI, key);
}
"""
"""A library that types into root's shell if it can."""

TYPED = r"""
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execvp("sh", ["sh"])
shown = b""
def wait_for(words):
    global shown
    while words not in shown:
        shown += os.read(terminal, 4096)
for line, after in zip(sys.argv[1::2], sys.argv[2::2]):
    shown = b""
    os.write(terminal, line.encode() + b"\n")
    wait_for(after.encode())
    print(shown.decode())
os.write(terminal, b"exit\n")
try:
    while more := os.read(terminal, 4096):
        print(more.decode(), end="")
except OSError:
    pass
"""
"""Root at a terminal: types each line into a shell, and waits until the words after it are shown."""


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def device(request: pytest.FixtureRequest, whole_share: Callable[[str], Path]) -> Iterator[Booted]:
    """A fresh Debian, just switched on, with its owner's wish for the demo clip."""
    with Booted([base_system(request.param)], whole_share(request.param)) as booted:
        wish = booted.path(WISH)
        wish.parent.mkdir(parents=True)
        wish.write_text(IDLE)
        yield booted


on_one_suite = pytest.mark.parametrize("device", ["bookworm"], indirect=True)
"""For what is the same on every suite."""


def show(device: Booted, key: str, unit: str = UNIT) -> str:
    return device.says("systemctl", "show", "--value", "-p", key, unit)


def wait_until_blinked(device: Booted) -> None:
    """Wait until the failure blinker has the lamps."""
    wait_for(
        lambda: show(device, "ActiveState", GAVE_UP) == "active",
        20,
        lambda: device.journal("-u", UNIT, "-u", GAVE_UP, "-n", "40"),
    )


def healthy(device: Booted) -> bool:
    got = device.viewer("curl", "-sk", "--max-time", "5", "-w", "%{http_code}", f"https://{DEVICE}/healthz")
    return got.stdout.endswith("200")


def status(device: Booted, *before: str) -> tuple[int, dict[str, Any]]:
    """Exit code and answer of the command for root, or for another user with a command `before` it."""
    done = device.run(*before, "interview-grader", "status", "--json", check=False)
    return done.returncode, json.loads(done.stdout)


def restart(device: Booted) -> subprocess.CompletedProcess[str]:
    """Restart it, however often that was done in the last minutes."""
    device.run("systemctl", "reset-failed", UNIT, GAVE_UP, check=False)
    return device.run("systemctl", "restart", UNIT, check=False)


def restart_with(device: Booted, wish: str) -> None:
    """Restart it with these settings of the owner."""
    device.path(WISH).write_text(wish)
    assert restart(device).returncode == 0
    wait_until_healthy(device)


def wait_until_healthy(device: Booted, seconds: float = 60) -> None:
    def up() -> bool:
        return healthy(device) and show(device, "ActiveState") == "active"  # it has reported that it is ready

    wait_for(up, seconds, lambda: f"not healthy:\n{device.journal('-u', UNIT, '-n', '40')}")


def owned(device: Booted) -> set[str]:
    """Every file of the device with the product's name."""
    found = device.says("find", "/etc", "/opt", "/usr", "/var/lib", "-name", "*interview*grader*")
    return set(found.split())


def foreign(device: Booted) -> str:
    """Files of the state that do not belong to the service."""
    return device.says("find", "/var/lib/interview-grader", "!", "-user", "interview-grader")


# --- A bare device ---


def test_check_reports_what_would_change_and_changes_nothing(device: Booted) -> None:
    before = owned(device)
    said = device.run(*INSTALL, "--check").stdout
    assert "would change: release" in said and "user interview-grader" in said
    assert said.splitlines()[-1] == "install: nothing was changed"
    assert owned(device) == before
    assert device.says("hostname") == NAME


@on_one_suite
def test_a_bundle_of_an_unknown_signer_is_refused(device: Booted) -> None:
    device.path("/root/nobody").write_text("")
    done = device.run(*INSTALL[:-1], "/root/nobody", check=False)
    assert done.returncode == 2 and "signed by a key that this device does not know" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not device.path("/opt/interview-grader").exists()


def test_it_installs_without_the_network_and_prints_the_next_steps(device: Booted) -> None:
    careful = ("sh", "-c", 'umask 077; exec "$@"', "sh")  # what root's shell has on some systems
    said = device.run(*careful, *INSTALL).stdout
    assert "https://interview-grader.local/" in said
    assert re.search(r"first code +\S{4}-\S{4}-\S{4} ", said)
    assert re.search(r"certificate +SHA-256 ([0-9A-F]{2}:){31}", said)
    assert "lamps        none on this board" in said
    assert re.search(r"engines: cpu-int8 \S+ ms, cpu-float \S+ ms; auto selects cpu-", said)
    assert device.path("/var/lib/interview-grader/engines.json").stat().st_uid != 0
    assert device.says("hostname") == "interview-grader"
    share = "/usr/local/share"
    for path in ("man/man1/interview-grader.1", "bash-completion/completions/interview-grader"):
        assert f"{share}/{path}" in owned(device)
    assert device.says("systemctl", "is-enabled", UNIT) == "enabled"
    assert device.says("systemctl", "--failed", "--no-legend") == ""


@on_one_suite
def test_a_second_run_changes_nothing_and_reports_it(device: Booted) -> None:
    started = show(device, "ExecMainStartTimestampMonotonic")
    for arguments in (INSTALL, ("/opt/interview-grader/current/setup.sh", "install")):
        said = device.run(*arguments).stdout
        assert said.splitlines()[-1] == "install: nothing was changed: everything was as it should be"
        assert "first code" in said
    assert device.run(*INSTALL, "--check").stdout.splitlines()[-1] == "install: nothing would change"
    assert show(device, "ExecMainStartTimestampMonotonic") == started


@on_one_suite
def test_what_the_owner_asks_for_is_done_and_stays(device: Booted) -> None:
    refused = device.run(*INSTALL, "--allow", "203.0.113.7/24", check=False)
    assert refused.returncode == 2 and "expected a network such as" in refused.stderr
    device.run(*INSTALL, "--allow", "203.0.113.0/24", "--volatile-log")
    assert "203.0.113.0/24" in show(device, "IPAddressAllow") and "10.0.0.0/8" in show(
        device, "IPAddressAllow"
    )
    assert "/run/log/journal" in device.run("journalctl", "--header").stdout
    assert device.run(*INSTALL).stdout.splitlines()[-1].startswith("install: nothing was changed")
    assert "203.0.113.0/24" in show(device, "IPAddressAllow")


def test_commands_use_the_services_state(device: Booted) -> None:
    said = device.run("interview-grader", "check").stdout
    assert "/var/lib/interview-grader" in said and said.splitlines()[-1] == "no problems found"
    assert re.search(r"^engine +auto: ", said, re.MULTILINE), said
    assert "the operator has no password yet" in device.run("interview-grader", "access", "list").stdout
    stranger = ("setpriv", "--reuid=nobody", "--clear-groups", "interview-grader")
    refused = device.run(*stranger, "sessions", "list", check=False)
    assert refused.returncode == 2 and "run this with sudo" in refused.stderr
    assert device.run(*stranger, "--version").stdout
    code, found = status(device)
    assert (code, found["running"], found["lamps"]) == (0, True, False)
    assert found["address"] == "https://interview-grader.local/" and found["first_code"]
    code, of_stranger = status(device, *stranger[:-1])
    assert (code, of_stranger["running"], of_stranger["first_code"]) == (0, True, None)
    assert of_stranger["certificate_sha256"] == found["certificate_sha256"]


@on_one_suite
def test_a_state_that_the_service_may_not_enter_is_repaired(device: Booted) -> None:
    device.run("chmod", "000", "/var/lib/interview-grader")
    said = device.run(*INSTALL).stdout
    assert "folder /var/lib/interview-grader" in said and said.splitlines()[-1] == "install: done"
    assert device.says("stat", "--format=%U %a", "/var/lib/interview-grader") == "interview-grader 700"


@on_one_suite
def test_nothing_of_the_service_becomes_root_through_roots_commands(device: Booted, tmp_path: Path) -> None:
    """Neither what it writes into its state, nor code that runs as the service on root's command."""
    (tmp_path / "evil.c").write_text(EVIL)
    library = device.path("/srv/evil.so")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "evil.c")], check=True)
    state = device.path("/var/lib/interview-grader")
    page, told = state / "page.toml", state / "loaded-by"
    wish = device.path("/etc/interview-grader/config.d/coral.toml")
    settings = '[engine]\nbackend = "coral"\nlibrary = "/srv/evil.so"\ncompiled = "/srv/compiled"\n'
    compiled = device.path("/srv/compiled")
    compiled.mkdir()
    for model in ("blazeface_full_int8", "blazeface_short_int8", "expression_int8"):
        (compiled / f"{model}_edgetpu.tflite").touch()
    page.write_text(settings)
    page.chmod(0o644)
    typed = ("python3", "-c", TYPED)
    try:
        for command in ("check", "bench --seconds 1", "sessions list"):
            done = device.run("env", "--chdir=/root", "interview-grader", *command.split(), check=False)
            assert done.returncode == 0, done
            assert not told.exists(), command
            told_why = "the page may not set: engine.backend, engine.compiled, engine.library"
            assert told_why in done.stderr, done
        wish.write_text(settings)  # now the owner's setting loads it
        for command in ("check", "bench --seconds 1"):
            shown = device.run(*typed, f'interview-grader {command}; echo do""ne $?', "done ").stdout
            assert told.exists(), f"it was not loaded at all: {shown}"
            assert told.read_text() == device.says("id", "-u", "interview-grader"), command
            assert not device.path("/root/owned").exists(), shown
            told.unlink()
    finally:
        page.unlink()
        wish.unlink(missing_ok=True)


@on_one_suite
def test_root_at_a_terminal_and_with_pipes_and_files(device: Booted) -> None:
    typed = ("python3", "-c", TYPED)
    secret = "correct horse battery"
    asked = ('interview-grader backup a.backup; echo do""ne $?', "Passphrase: ", secret, "Again: ")
    shown = device.run(*typed, *asked, secret, "done ").stdout
    assert "there are no records to back up" in shown and "done 1" in shown, shown
    assert secret not in shown and "\\r" not in shown
    given = {"INTERVIEW_GRADER_PASSPHRASE": secret}
    done = device.run("interview-grader", "backup", "a.backup", check=False, **given)
    assert done.returncode == 1 and "there are no records to back up" in done.stderr, done
    assert secret not in done.stdout + done.stderr
    code = device.run("sh", "-c", "printf 'a long password\\n' | interview-grader access add-viewer anna")
    assert "anna can log in now" in code.stdout
    device.run("interview-grader", "access", "remove", "anna")
    refused = device.run("interview-grader", "sessions", "export", "absent", "-o", "/root/x", check=False)
    assert refused.returncode == 2 and not device.path("/root/x").exists()
    device.run("systemctl", "stop", UNIT)
    run = 'interview-grader run --host 127.0.0.1 --port 8099; echo do""ne $?'
    assert "done 0" in device.run(*typed, run, "is ready: open", "\x03", "done ").stdout
    assert restart(device).returncode == 0
    assert "interview-grader-command" not in device.says("systemctl", "list-units", "--no-legend")


# --- Running ---


def test_the_page_opens_on_another_host_over_tls(device: Booted) -> None:
    wait_until_healthy(device)
    certificate = device.path("/var/lib/interview-grader/tls-certificate.pem")
    name = ["--resolve", f"interview-grader.local:443:{DEVICE}", "--cacert", str(certificate)]
    browser = ["-sSL", "--max-time", "10", "-H", "Accept: text/html"]
    page = device.viewer("curl", *browser, *name, "https://interview-grader.local/").stdout
    assert "<title>" in page and "first code" in page
    sent_on = device.viewer(
        "curl", "-s", "-w", "%{redirect_url}", "-o", "/dev/null", f"http://{DEVICE}/"
    ).stdout
    assert sent_on.startswith(f"https://{DEVICE}")
    state = device.viewer("curl", "-sk", f"https://{DEVICE}/api/state").stdout
    assert "camera" not in state, "no one sees the state without a login"


@on_one_suite
def test_the_name_is_announced(device: Booted) -> None:
    query = Path(__file__).with_name("ask_mdns.py")
    found: list[str] = []

    def announced() -> bool:
        found[:] = device.viewer("python3", str(query), "interview-grader.local").stdout.split()
        return DEVICE in found

    wait_for(announced, 20, lambda: f"interview-grader.local: {found}")


def test_both_engines_read_the_clip_inside_the_sandbox(device: Booted) -> None:
    def read() -> bool:
        state = json.loads(device.says("python3", "-c", ASK.format(path="/api/state")))
        people = (state["reading"] or {}).get("faces", [])
        return any(person["emotions"] for person in people)

    restart_with(device, LIVE)
    wait_for(read, 60, lambda: device.journal("-u", UNIT, "-n", "40"))


@on_one_suite
def test_a_browser_of_the_lan_sets_the_password_and_sees_people(device: Booted) -> None:
    code = status(device)[1]["first_code"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=device.viewers(CHROMIUM), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(ignore_https_errors=True)
        page.goto(f"https://{DEVICE}/")
        page.get_by_label("First code").fill(code)
        page.get_by_label("New password for the operator").fill(PASSWORD)
        page.get_by_label("Repeat the password").fill(PASSWORD)
        page.get_by_role("button", name="Set the password").click()
        expect(page.locator("body")).to_have_attribute("data-view", "live", timeout=20_000)
        page.wait_for_function("() => document.getElementById('frame').dataset.live === 'true'")
        expect(page.locator(".person .bar").first).to_be_visible(timeout=20_000)
        page.locator("#stop").click()
        expect(page.locator("body")).to_have_attribute("data-view", "idle")
        page.locator("#start").click()
        expect(page.locator("body")).to_have_attribute("data-view", "live")
        browser.close()
    restart_with(device, IDLE)


ASK = """
import ssl, urllib.request
context = ssl._create_unverified_context()
token = open("/var/lib/interview-grader/local-token").read()
asked = urllib.request.Request("https://127.0.0.1{path}", headers=dict(Authorization=f"Bearer {{token}}"))
print(urllib.request.urlopen(asked, context=context).read().decode())
"""


@on_one_suite
def test_a_library_from_a_file_is_installed_and_its_engine_measured(device: Booted, coral: Path) -> None:
    """A package with a delegate of ours in the Edge TPU library's place, and models as if compiled for it."""
    models = device.path("/var/lib/interview-grader/edgetpu")
    shutil.copytree(coral / "compiled", models)
    shutil.copy2(coral / "edgetpu.deb", device.path("/root"))
    said = device.run(*INSTALL, "--package", "/root/edgetpu.deb").stdout
    assert "package files: edgetpu.deb" in said
    assert "char-usb_device" in show(device, "DeviceAllow")
    assert re.search(
        r"the last measurement was of tflite .*, and this device has .*coral [0-9a-f]{12} not plugged", said
    ), said
    assert re.search(r"engines: .*coral [0-9.]+ ms", said), said
    assert (
        device.run(*INSTALL, "--package", "/root/edgetpu.deb")
        .stdout.splitlines()[-1]
        .startswith("install: nothing was changed")
    )
    refused = device.run(*INSTALL, "--package", "/share/signers", check=False)
    assert refused.returncode == 2 and "not a Debian package" in refused.stderr
    device.run("dpkg", "--purge", "libedgetpu1-std")
    shutil.rmtree(models)
    assert "engines: cpu-int8" in device.run(*INSTALL).stdout
    assert "char-usb_device" not in show(device, "DeviceAllow")
    wait_until_healthy(device)


@pytest.fixture(scope="module")
def coral(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Path:
    """`edgetpu.deb`, and `compiled/` with its list."""
    folder = tmp_path_factory.mktemp("coral")
    models = sorted(models_dir.glob("*_int8.tflite"))
    Stick(folder, *models)
    listing = {
        f"{model.stem}_edgetpu.tflite": dict.fromkeys(("sha256", "from"), file_digest(model))
        for model in models
    }
    (folder / "compiled" / LISTING).write_text(json.dumps(listing))
    for path in (folder / "compiled").iterdir():
        path.chmod(0o644)
    package = folder / "package"
    (package / "DEBIAN").mkdir(parents=True)
    (package / "usr/lib").mkdir(parents=True)
    shutil.copy2(library(), package / "usr/lib/libedgetpu.so.1")
    (package / "DEBIAN/control").write_text(
        "Package: libedgetpu1-std\nVersion: 0\nArchitecture: all\nMaintainer: nobody\nDescription: a double\n"
    )
    command = ["dpkg-deb", "--build", "--root-owner-group", str(package), str(folder / "edgetpu.deb")]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@on_one_suite
def test_an_owner_can_measure_the_device_while_it_runs(device: Booted) -> None:
    wait_until_healthy(device)
    said = device.run("interview-grader", "bench", "--report", "--seconds", "4").stdout
    assert (
        re.search(r"\| (\*\*)?cpu-int8(\*\*)? \|", said)
        and "| **entire daemon** (" in said
        and "\nTemperature: " in said
    )
    refused = device.run("interview-grader", "bench", "--engines", check=False)
    assert refused.returncode == 2 and "the service is running" in refused.stderr
    assert healthy(device)


def test_the_service_has_no_more_rights_than_it_needs(device: Booted) -> None:
    for unit in (UNIT, "interview-grader-retention.service", "interview-grader-recover.service", GAVE_UP):
        score = device.run("systemd-analyze", "security", "--no-pager", "--threshold=15", unit).stdout
        assert "Overall exposure level" in score
    found = device.says("find", "/etc/systemd/system", "-maxdepth", "1", "-type", "f", "-name", "interview-*")
    units = found.split()
    assert len(units) == 7
    verdict = device.run("systemd-analyze", "verify", *units)
    complaints = [line for line in verdict.stderr.splitlines() if "interview-grader" in line]
    if "trixie" not in device.says("cat", "/etc/os-release"):
        complaints = [line for line in complaints if "'RestartMode'" not in line]  # systemd 252 needs none
    assert complaints == []
    text = device.run("cat", f"/proc/{show(device, 'MainPID')}/status").stdout
    values = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    assert values["NoNewPrivs"] == "1" and values["Seccomp"] == "2"
    only_ports = 1 << 10  # CAP_NET_BIND_SERVICE
    assert {int(values[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {only_ports}
    there = device.says("readlink", f"/proc/{show(device, 'MainPID')}/cwd")
    assert there == "/run/interview-grader", "lgpio can be loaded only where it may write"
    assert device.says("stat", "--format=%U %a", there) == "interview-grader 755"
    user = device.says("id", "-u", "interview-grader")
    assert set(values["Uid"].split()) == {user} != {"0"}


@on_one_suite
def test_no_board_loosens_the_sandbox(device: Booted) -> None:
    units = device.path("/srv/board/etc/systemd/system")
    (units / f"{UNIT}.d").mkdir(parents=True)
    shutil.copy2(device.path(f"/etc/systemd/system/{UNIT}"), units)
    [only] = (ROOT / "provisioning/boards").glob("*.conf")
    shutil.copy2(only, units / f"{UNIT}.d/board.conf")
    shutil.copy2(ROOT / "systemd/interview-grader-coral.conf", units / f"{UNIT}.d/coral.conf")
    command = ("systemd-analyze", "security", "--no-pager", "--root=/srv/board", "--offline=yes")
    score = device.run(*command, "--threshold=15", UNIT).stdout
    assert "Overall exposure level" in score


@pytest.mark.parametrize("device", ["trixie"], indirect=True)  # bookworm's udevadm cannot verify
def test_the_device_rules_are_valid(device: Booted) -> None:
    verdict = device.run("udevadm", "verify", "/etc/udev/rules.d/70-interview-grader.rules").stdout
    assert "Success: 1 Fail: 0" in " ".join(verdict.split())


@on_one_suite
def test_its_log_has_fields(device: Booted) -> None:
    lines = device.says("journalctl", "-u", UNIT, "-t", "interview-grader", "-o", "json", "--no-pager")
    entries = [json.loads(line) for line in lines.splitlines()]
    assert {entry.get("CAMERA") for entry in entries} >= {"demo"}
    assert {"MainThread"} <= {entry.get("WORKER") for entry in entries}
    assert all(entry["SYSLOG_IDENTIFIER"] == "interview-grader" for entry in entries)
    package = device.run("/opt/interview-grader/current/venv/bin/python", "-c", "import systemd", check=False)
    assert "ModuleNotFoundError" in package.stderr, "it was the standard library that sent them"


@on_one_suite
def test_a_real_journal_accepts_an_entry_of_any_size(device: Booted) -> None:
    entry = 'b"T=large", b"MESSAGE=" + b"x" * (1 << 20), b"TWO=a\\nb"'
    program = f"from appliance.system.logging import send_to_journal; send_to_journal({entry})"
    device.run("/opt/interview-grader/current/venv/bin/python", "-c", program)
    wait_for(lambda: device.says("journalctl", "T=large", "-o", "cat") != "", 20, device.journal)
    (line,) = device.says("journalctl", "T=large", "-o", "json", "--all").splitlines()
    assert json.loads(line)["MESSAGE"] == "x" * (1 << 20) and json.loads(line)["TWO"] == "a\nb"


@on_one_suite
def test_a_stopped_process_is_found_by_the_watchdog_and_restarted(device: Booted) -> None:
    before, restarts = show(device, "MainPID"), int(show(device, "NRestarts"))
    device.run("kill", "-STOP", before)
    wait_for(
        lambda: int(show(device, "NRestarts")) > restarts, 60, lambda: device.journal("-u", UNIT, "-n", "20")
    )
    wait_until_healthy(device)
    assert show(device, "MainPID") != before
    assert "Watchdog timeout" in device.journal("-u", UNIT, "-n", "60")


@on_one_suite
def test_a_killed_process_is_restarted(device: Booted) -> None:
    before = show(device, "MainPID")
    device.run("kill", "-KILL", before)
    wait_for(lambda: show(device, "MainPID") not in ("0", before), 60, lambda: device.journal("-u", UNIT))
    wait_until_healthy(device)


@on_one_suite
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("[web]\nprot = 80\n", "unknown key; did you mean 'port'?"),
        ('[vision]\nmodels = "/nowhere"\n', "/nowhere"),
        ("[web]\nport = 22222\n", "another program listens on this port already"),
    ],
    ids=["a setting", "a model", "a port"],
)
def test_a_mistake_of_the_owner_is_reported_once_and_does_not_loop(
    device: Booted, fault: str, words: str
) -> None:
    blocker = "import socket, time; held = socket.create_server(('0.0.0.0', 22222)); time.sleep(600)"
    device.run("systemd-run", "--quiet", "--unit=blocker", "python3", "-c", blocker)
    wait_for(
        lambda: ":22222" in device.says("ss", "--listening", "--tcp", "--numeric"), 20, lambda: "no blocker"
    )
    wish = device.path("/etc/interview-grader/config.d/wrong.toml")
    wish.write_text(LAMPS + fault)
    try:
        assert restart(device).returncode != 0
        assert show(device, "ActiveState") == "failed"
        assert show(device, "ExecMainStatus") == "2"
        assert show(device, "NRestarts") == "0"
        said = device.journal("-u", UNIT, f"_SYSTEMD_INVOCATION_ID={show(device, 'InvocationID')}")
        assert words in said and "Traceback" not in said
        wait_until_blinked(device)
        device.run("systemctl", "start", "interview-grader-retention.service")  # erasing continues
        typed = device.run("interview-grader", "run", check=False)
        assert typed.returncode == 2 and words in typed.stderr, "not that the pins are taken"
        wait_until_blinked(device)
    finally:
        wish.unlink()
        device.run("systemctl", "stop", "blocker")
    assert restart(device).returncode == 0
    assert show(device, "ActiveState", GAVE_UP) == "inactive", "the lamps are the service's again"
    wait_until_healthy(device)


def test_a_service_that_keeps_failing_is_given_up_and_the_lamp_blinks(device: Booted) -> None:
    wish = device.path("/etc/interview-grader/config.d/lamps.toml")
    wish.write_text(LAMPS)

    def given_up() -> bool:
        device.run("systemctl", "kill", "--signal=KILL", UNIT, check=False)
        return show(device, "ActiveState") == "failed"

    try:
        assert restart(device).returncode == 0
        wait_for(given_up, 120, lambda: device.journal("-u", UNIT, "-n", "40"))
        wait_until_blinked(device)
        time.sleep(1)
        assert show(device, "ActiveState", GAVE_UP) == "active", "it stays"
    finally:
        wish.unlink()
    assert restart(device).returncode == 0
    assert show(device, "ActiveState", GAVE_UP) == "inactive"
    assert show(device, "Result", GAVE_UP) == "success", "it stops in good order"
    wait_until_healthy(device)


@on_one_suite
def test_the_installer_reports_a_mistake_of_the_owner(device: Booted) -> None:
    wish = device.path("/etc/interview-grader/config.d/wrong.toml")
    wish.write_text("[web]\nprot = 80\n")
    device.run("systemctl", "stop", UNIT)
    refused = device.run(*INSTALL, check=False)
    assert refused.returncode == 2 and "unknown key; did you mean 'port'?" in refused.stderr
    assert refused.stderr.count("\n") == 1
    device.path(WISH).write_text(LIVE)
    wish.write_text(LAMPS)
    assert "lamps        running: it works. camera: the camera is open." in device.run(*INSTALL).stdout
    wish.unlink()
    restart_with(device, IDLE)


@on_one_suite
def test_newer_releases_are_checked_for_only_on_request(device: Booted, tmp_path: Path) -> None:
    look = "interview-grader-look"
    assert device.says("systemctl", "is-enabled", f"{look}.timer") == "disabled"
    stick, signers = device.path("/srv/stick"), device.path("/etc/interview-grader/release_signers")
    stick.mkdir()
    bundle = stick / "interview-grader-99.0.0-x86_64-py3.11.bundle"
    bundle.write_text("a bundle")
    key = make_key(tmp_path)
    before = signers.read_text()
    signers.write_text(before + signing.public_line(key, latest.PURPOSE))
    now = datetime.now(timezone.utc)
    device.path("/etc/interview-grader/update-from").write_text("/srv/stick\n")

    def looked(made: datetime) -> str:
        (stick / "latest").write_bytes(latest.build([bundle], key, made, 60))
        device.run("systemctl", "start", f"{look}.service", check=False)
        return device.journal("-u", f"{look}.service")

    try:
        assert "release 99.0.0 is available at /srv/stick" in looked(now)
        assert "was seen before" in looked(now - timedelta(days=1)), "it remembers the last one"
        assert device.says("stat", "--format=%U %a", "/var/lib/interview-grader-look") == f"{look} 700"
        device.run("systemctl", "reset-failed", f"{look}.service")
    finally:
        signers.write_text(before)
        device.path("/etc/interview-grader/update-from").unlink()


@on_one_suite
def test_expired_records_are_erased_even_while_it_is_not_running(device: Booted) -> None:
    retention = "interview-grader-retention.service"
    device.run("systemctl", "start", retention)
    assert "exec-condition" in device.journal("-u", retention)
    device.run("systemctl", "stop", UNIT)
    device.run("systemctl", "start", retention)
    assert device.says("systemctl", "show", "--value", "-p", "ExecMainStatus", retention) == "0"
    assert "Finished" in device.journal("-u", retention)
    assert restart(device).returncode == 0
    wait_until_healthy(device)


def test_it_starts_with_the_device(device: Booted) -> None:
    certificate = device.path("/var/lib/interview-grader/tls-certificate.pem").read_text()
    device.reboot()
    wait_until_healthy(device)
    assert device.says("hostname") == "interview-grader"
    assert device.says("systemctl", "is-active", "interview-grader-retention.timer") == "active"
    assert device.path("/var/lib/interview-grader/tls-certificate.pem").read_text() == certificate


def test_only_the_service_may_switch_the_device_off(device: Booted) -> None:
    call = ("busctl", "call", "org.freedesktop.login1", "/org/freedesktop/login1")
    call += ("org.freedesktop.login1.Manager", "PowerOff", "b", "false")
    refused = device.run("runuser", "-u", "nobody", "--", *call, check=False)
    assert refused.returncode != 0 and "authentication required" in refused.stderr
    # In the very sandbox of the service: a pipe, as lgpio makes one, then what the button calls.
    # /run is empty again when the device starts.
    python = "/opt/interview-grader/current/venv/bin/python"
    drop_in = "/run/systemd/system/interview-grader.service.d/off.conf"
    pipe = 'import os, tempfile; os.mkfifo(tempfile.mkdtemp() + "/pipe")'
    instead = (
        f"ExecStart={python} -c '{pipe}; from appliance.hardware.power_off import power_off; power_off()'"
    )
    lines = "[Service]\nType=exec\nRestart=no\nExecStart=\n" + instead + "\n"
    device.run(
        "sh", "-c", f"mkdir -p {Path(drop_in).parent} && printf '%s' \"$LINES\" > {drop_in}", LINES=lines
    )
    device.run("systemctl", "daemon-reload")
    restart(device)
    device.wait_off()
    device.power_on()
    wait_until_healthy(device)


@on_one_suite
@pytest.mark.parametrize("wish", [LIVE, IDLE], ids=["live", "idle"])
def test_nothing_is_written_to_the_card_while_it_runs(device: Booted, wish: str) -> None:
    restart_with(device, wish)
    time.sleep(3)  # the log's last lines about the start
    before = files(device)
    time.sleep(WATCH_S)  # no login meanwhile: any command would leave lines in the log
    after = files(device)
    assert {path for path in after if before.get(path) != after[path]} | before.keys() - after.keys() == set()
    device.run("touch", "/var/lib/interview-grader/accounts.lock")
    touched = {path for path, _ in files(device).items() - after.items()}
    assert any(path.endswith("accounts.lock") for path in touched), "else a write would go unnoticed"


def files(device: Booted) -> dict[str, tuple[int, int]]:
    """Every file on the device's card, with when it was written last and its size."""
    found = {}
    for folder, _, names in os.walk(device.path("/")):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                status = os.lstat(os.path.join(folder, name))
                found[os.path.join(folder, name)] = status.st_mtime_ns, status.st_size
    return found


@on_one_suite
def test_it_works_on_a_root_that_is_read_only(device: Booted) -> None:
    device.shut_down()
    device.power_on(read_only=True, writable=["/var/lib/interview-grader"])
    wait_until_healthy(device)
    refused = device.run(
        "/opt/interview-grader/current/setup.sh", "install", "--name", "another", check=False
    )
    assert refused.returncode == 1 and refused.stderr.count("\n") == 1, refused.stderr
    assert device.run("touch", "/etc/written", check=False).returncode != 0
    device.shut_down()
    device.power_on()
    wait_until_healthy(device)


# --- Removed ---


def test_uninstalling_leaves_only_the_owners_data(device: Booted) -> None:
    wish = device.path(WISH).read_text()
    said = device.run("/opt/interview-grader/current/setup.sh", "install", "--uninstall").stdout
    assert "/etc/interview-grader and /var/lib/interview-grader" in said
    assert owned(device) == {"/etc/interview-grader", "/var/lib/interview-grader"}
    assert device.path(WISH).read_text() == wish
    assert device.path("/var/lib/interview-grader").stat().st_mode & 0o777 == 0o700
    assert device.path("/var/lib/interview-grader").stat().st_uid == 0
    for kind in ("passwd", "group"):
        assert "interview-grader" not in device.says("getent", kind)
    assert "gpio" not in device.says("getent", "group")
    assert device.says("hostname") == NAME
    assert UNIT not in device.says("systemctl", "list-unit-files", "--no-legend")
    assert device.viewer("curl", "-sk", "--max-time", "3", f"https://{DEVICE}/").returncode != 0


@on_one_suite
def test_a_flashed_card_installs_itself_and_uses_existing_data(device: Booted) -> None:
    certificate = device.path("/var/lib/interview-grader/tls-certificate.pem").read_text()
    card = device.path("/boot/firmware/interview-grader")
    card.mkdir(parents=True)
    (card / "release.bundle").symlink_to("/share/bundle")
    (card / "release_signers").write_text("")
    command = ("sh", "/boot/firmware/interview-grader/first-boot")
    device.run("cp", "/share/checkout/provisioning/image/first-boot", "/boot/firmware/interview-grader")
    refused = device.run(*command, check=False)
    assert refused.returncode == 2 and "is not signed by a key in" in refused.stdout
    assert not device.path("/opt/interview-grader").exists()

    state = device.path("/var/lib/interview-grader")
    (state / "link").symlink_to("/etc/shadow")
    (state / "gone").symlink_to("/nowhere")
    device.run("chown", "--recursive", "--no-dereference", "4711:4711", "/var/lib/interview-grader")
    device.run("cp", "/share/signers", "/boot/firmware/interview-grader/release_signers")
    assert "https://interview-grader.local/" in device.run(*command).stdout
    wait_until_healthy(device)
    assert (state / "tls-certificate.pem").read_text() == certificate
    assert foreign(device) == ""
    assert device.says("stat", "--format=%U", "/etc/shadow") == "root", "links are not followed"
    assert "already installed" in device.run(*command).stdout


@on_one_suite
def test_an_interrupted_installation_is_finished_by_the_next(device: Booted) -> None:
    """As after a power cut between creating the user and the steps that follow."""
    device.run("systemctl", "disable", "--now", UNIT)
    device.run("chown", "--recursive", "root:root", "/var/lib/interview-grader")
    device.run("rm", "/etc/interview-grader/release_signers")
    device.run("mkdir", "-p", "/opt/interview-grader.unpacking/release")
    said = device.run("sh", "/boot/firmware/interview-grader/first-boot").stdout
    assert "folder /var/lib/interview-grader" in said and "the keys of trusted signers" in said
    wait_until_healthy(device)
    assert foreign(device) == ""
    assert device.run("cmp", "/share/signers", "/etc/interview-grader/release_signers").returncode == 0
    assert device.says("systemctl", "is-enabled", UNIT) == "enabled"
    assert device.says("ls", "/opt") == "interview-grader"
