"""The check for a newer release: only a signed file counts, in time and not older than the one before."""

from __future__ import annotations

import dataclasses
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from device.bundle import latest, signing
from device.bundle.container import Release
from device.errors import BundleError, DeviceError
from device.layout import Layout
from device.update import check_for_release

from tests.fakes.releases import make_key
from tests.machine import ROOT

NOW = datetime(2030, 5, 1, 12, tzinfo=timezone.utc)
DAY = timedelta(days=1)
DEVICE = ("aarch64", "3.13")


class Stick:
    """A device with release 1.2.0, and the folder that it checks."""

    def __init__(self, root: Path) -> None:
        self.layout, self.state, self.folder = Layout(root / "device"), root / "state", root / "stick"
        release = self.layout.opt / "releases/1.2.0"
        release.mkdir(parents=True)
        (release / "release.json").write_bytes(Release("1.2.0", *DEVICE, created="").json())
        self.layout.current.symlink_to("releases/1.2.0")
        self.layout.config.mkdir(parents=True)
        self.state.mkdir()
        self.folder.mkdir()
        self.key = make_key(root, "latest-key")
        self.layout.signers.write_text(signing.public_line(self.key, latest.PURPOSE))
        self.look_at(str(self.folder))

    def look_at(self, place: str) -> None:
        (self.layout.config / "update-from").write_text(f"{place}\n")

    def bundles(self, *versions: str, device: tuple[str, str] = DEVICE) -> list[Path]:
        paths = [
            self.folder / f"interview-grader-{each}-{device[0]}-py{device[1]}.bundle" for each in versions
        ]
        for path in paths:
            path.write_text(f"the bundle {path.name}")
        return paths

    def say(self, paths: list[Path], made: datetime = NOW, days: int = 60, key: Path | None = None) -> bytes:
        content = latest.build(paths, key or self.key, made, days)
        (self.folder / "latest").write_bytes(content)
        return content

    def look(self, now: datetime = NOW) -> str:
        return check_for_release.check(self.layout, self.state, now)

    def refused(self, words: str, now: datetime = NOW) -> None:
        with pytest.raises(DeviceError, match=words) as refusal:
            self.look(now)
        assert "\n" not in str(refusal.value)


@pytest.fixture
def stick(tmp_path: Path) -> Stick:
    return Stick(tmp_path)


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("1.1.0", "1.2.0 is the newest release at"),
        ("1.2.0", "1.2.0 is the newest release at"),
        ("1.10.0", "release 1.10.0 is available at"),
    ],
)
def test_the_newest_release_is_named(stick: Stick, version: str, words: str) -> None:
    stick.say([*stick.bundles(version), *stick.bundles("9.0.0", device=("x86_64", "3.11"))])
    assert words in stick.look()


def test_there_may_be_no_bundle_for_this_device(stick: Stick) -> None:
    stick.say(stick.bundles("9.0.0", device=("aarch64", "3.11")))
    assert "lists no bundle for aarch64 and Python 3.13" in stick.look()


# --- files that are not trusted ---


def test_an_unsigned_file_is_refused(stick: Stick) -> None:
    stick.bundles("9.0.0")
    stick.refused("cannot be read")
    for content in (b"", b"interview-grader-9.0.0-aarch64-py3.13.bundle\n", b"\xff" * 100_000):
        (stick.folder / "latest").write_bytes(content)
        stick.refused("not signed")
    (stick.folder / "latest").write_bytes(b"{}\n-----BEGIN SSH SIGNATURE-----\nAAAA\n")
    stick.refused("does not match")


def test_a_changed_byte_is_refused(stick: Stick) -> None:
    content = stick.say(stick.bundles("9.0.0"))
    end = content.index(b"-----BEGIN")
    for place in range(0, end, 17):
        changed = bytearray(content)
        changed[place] ^= 1
        (stick.folder / "latest").write_bytes(changed)
        stick.refused("does not match")


def test_the_keys_for_bundles_and_for_latest_cannot_replace_each_other(stick: Stick, tmp_path: Path) -> None:
    other = make_key(tmp_path, "release-key")
    lines = signing.public_line(other) + signing.public_line(stick.key, latest.PURPOSE)
    stick.layout.signers.write_text(lines)
    stick.say(stick.bundles("9.0.0"), key=other)
    stick.refused("does not know")
    bundle = stick.folder / "payload"
    bundle.write_bytes(b"x")
    for key, good in ((stick.key, False), (other, True)):
        signature = signing.sign(bundle, key)
        with bundle.open("rb") as file:
            if good:
                signing.verify(file, signature, stick.layout.signers)
            else:
                with pytest.raises(BundleError, match="does not know"):
                    signing.verify(file, signature, stick.layout.signers)


def test_a_freeze_is_noticed_when_the_file_expires(stick: Stick) -> None:
    stick.say(stick.bundles("1.2.0"), days=60)
    assert "is the newest" in stick.look(NOW + 59 * DAY)
    stick.refused("`latest` has expired: made 2030-05-01T12:00:00Z", NOW + 61 * DAY)
    stick.say(stick.bundles("1.2.0"), made=NOW + 61 * DAY)
    assert "is the newest" in stick.look(NOW + 61 * DAY)


def test_an_older_file_is_noticed_before_it_expires(stick: Stick) -> None:
    old = stick.say(stick.bundles("1.2.0"), days=300)
    stick.look()
    stick.say(stick.bundles("1.3.0"), made=NOW + DAY)
    assert "release 1.3.0 is available at" in stick.look(NOW + DAY)
    (stick.folder / "latest").write_bytes(old)
    for _ in range(2):
        stick.refused(
            "made 2030-05-01T12:00:00Z, but one of 2030-05-02T12:00:00Z was seen before", NOW + 2 * DAY
        )


def test_a_clock_that_is_behind_is_noticed(stick: Stick) -> None:
    """Else the file would never expire."""
    stick.say(stick.bundles("1.2.0"))
    stick.refused("this device's clock is at 2030-04-01T12:00:00Z", NOW - 30 * DAY)


def test_another_bundle_of_that_name_and_a_missing_one_are_noticed(stick: Stick) -> None:
    [path] = stick.bundles("9.0.0")
    stick.say([path])
    assert "SHA-256" in stick.look()
    path.write_text("the bundle interview-grader-9.9.9-aarch64-py3.13.bundle"[: path.stat().st_size])
    stick.refused("is not the bundle that `latest` lists")
    path.unlink()
    stick.refused("No such file")


def test_the_last_seen_file_is_recorded_and_a_failure_reported(stick: Stick, tmp_path: Path) -> None:
    stick.say(stick.bundles("1.2.0"))
    stick.look()
    assert json.loads((stick.state / check_for_release.SEEN_FILE).read_text()) == {
        "created": "2030-05-01T12:00:00Z"
    }
    stick.state = tmp_path / "absent"
    stick.refused("cannot be written")


def test_a_signed_but_malformed_file_is_refused(stick: Stick, monkeypatch: pytest.MonkeyPatch) -> None:
    [path] = stick.bundles("9.0.0")
    good = stick.say([path])
    said = json.loads(good.partition(b"\n")[0])
    for change in ({"schema": 2}, {"bundles": [{}]}, {"expires": "soon"}, {"bundles": 7}):
        monkeypatch.setattr(
            latest.json, "dumps", lambda *_, change=change, **__: repr_json({**said, **change})
        )
        stick.say([path])
        stick.refused("signed, but malformed")


repr_json = json.JSONEncoder().encode


# --- the location, and how the file is made ---


@pytest.fixture
def address(stick: Stick) -> Iterator[str]:
    """An address that answers with the file."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write((stick.folder / "latest").read_bytes())

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/latest"
        server.shutdown()
        thread.join()


def test_a_file_from_an_address_is_checked_in_the_same_way(
    stick: Stick, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        check_for_release, "_location", lambda layout: address
    )  # only https is allowed, see below
    content = stick.say(stick.bundles("2.0.0"))
    assert "release 2.0.0 is available at" in stick.look()
    (stick.folder / "latest").write_bytes(content.replace(b"2.0.0", b"3.0.0"))
    stick.refused("does not match")
    (stick.folder / "latest").write_bytes(content[:200])
    stick.refused("not signed")


@pytest.mark.parametrize("place", ["http://example.org/newest", "relative", ""])
def test_an_invalid_location_is_refused(stick: Stick, capsys: pytest.CaptureFixture[str], place: str) -> None:
    stick.look_at(place)
    assert check_for_release.main(stick.layout) == 2
    assert "expected a folder or an https address" in capsys.readouterr().err


def test_a_missing_location_is_a_fault(stick: Stick, capsys: pytest.CaptureFixture[str]) -> None:
    stick.look_at("/nowhere/at/all")
    assert check_for_release.main(stick.layout) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("place", ["home/pi/releases", "tmp/releases"])
def test_a_location_hidden_from_the_service_is_refused(
    stick: Stick, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    stick.look_at(str(stick.layout.root / place))
    assert check_for_release.main(stick.layout) == 2
    assert "the service that checks cannot see this folder" in capsys.readouterr().err


def test_a_command_makes_it_with_its_own_key(stick: Stick, tmp_path: Path) -> None:
    def make(*words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "provisioning/latest"), "--key", str(tmp_path / "new/key")]
        return subprocess.run([*command, *map(str, words)], capture_output=True, text=True, check=False)

    out = stick.folder / "latest"
    done = make("--out", out, *stick.bundles("2.0.0"))
    assert done.returncode == 0, done.stderr
    stick.layout.signers.write_text(done.stdout.rpartition("need this line: ")[2])
    assert "release 2.0.0 is available at" in stick.look(datetime.now(timezone.utc))
    for words, said in (
        (("--days", "0", *stick.bundles("2.0.0")), "expected 1 to 366"),
        (stick.bundles("2.0.0", "2.1.0"), "two bundles for one kind of device"),
        ((stick.layout.signers,), "expected a name from"),
        ((stick.folder / "absent",), "No such file"),
    ):
        done = make("--out", out, *words)
        assert done.returncode in (1, 2) and said in done.stderr and done.stderr.count("\n") == 1, done


def test_version_and_device_are_read_from_the_name() -> None:
    named = latest.Bundle("interview-grader-1.2.3rc1-aarch64-py3.13.bundle", "", 0)
    assert (named.version, named.device) == ("1.2.3rc1", DEVICE)
    with pytest.raises(BundleError, match="expected a name"):
        _ = dataclasses.replace(named, name="interview-grader-2.0.0;reboot-aarch64-py3.13.bundle").version
