"""`provisioning/card`: what it writes to the card, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from device.bundle import container

from tests.fakes.releases import SmallBundle, make_key
from tests.machine import ROOT

OURS = ["sh", "/boot/firmware/interview-grader/first-boot"]
USER_DATA = "#cloud-config\nhostname: room1\nruncmd:\n  - [ rfkill, unblock, wifi ]\n"

ELSEWHERE = """
import runpy, sys
for name in ("fcntl", "grp", "pwd", "resource", "termios", "tty", "pty", "yaml", "tomli"):
    sys.modules[name] = None  # importing it fails, as where it is missing
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""A computer without the modules of Unix and without packages."""


class Card:
    """A card that the Imager has written, and a bundle for the board."""

    def __init__(self, folder: Path) -> None:
        made = folder / "made"
        made.mkdir()
        self.made = SmallBundle(made)
        self.bundle = self.made.signed_by(self.made.key, "aarch64")
        self.boot = folder / "bootfs"
        self.boot.mkdir()
        (self.boot / "config.txt").write_text("arm_64bit=1\n")
        self.user_data, self.folder = self.boot / "user-data", self.boot / "interview-grader"
        self.user_data.write_text(USER_DATA)

    def lay(self, *more: object, bundle: Path | None = None) -> subprocess.CompletedProcess[str]:
        words = (self.boot, bundle or self.bundle, self.made.signers, *more)
        command = [sys.executable, "-I", "-S", "-c", ELSEWHERE, ROOT / "provisioning/card", *words]
        return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)

    def content(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in self.boot.rglob("*") if path.is_file()}

    def runcmd(self) -> list[object]:
        return list(yaml.safe_load(self.user_data.read_text())["runcmd"])


@pytest.fixture
def card(tmp_path: Path) -> Card:
    return Card(tmp_path)


def test_a_card_gets_everything_that_the_first_boot_needs(card: Card, tmp_path: Path) -> None:
    wish = tmp_path / "mine.toml"
    wish.write_bytes(b'[camera]\r\nbackend = "usb"\r\n')
    done = card.lay(wish)
    assert (done.returncode, done.stderr) == (0, "")
    assert "release 1.2.3" in done.stdout and "eject the card" in done.stdout
    assert card.runcmd() == [["rfkill", "unblock", "wifi"], OURS]
    [laid] = card.folder.glob("*.bundle")
    assert laid.read_bytes() == card.bundle.read_bytes()
    assert container.verify(laid, card.folder / "release_signers").version == "1.2.3"
    image = (ROOT / "provisioning/image/first-boot").read_bytes()
    assert (card.folder / "first-boot").read_bytes() == image
    assert (card.folder / "config.toml").read_text() == '[camera]\nbackend = "usb"\n'
    assert len(list(card.folder.iterdir())) == 4, "no partial files are left"


def test_a_second_run_replaces_and_repeats_nothing(card: Card, tmp_path: Path) -> None:
    card.lay()
    before = card.content()
    assert card.lay().returncode == 0
    assert card.content() == before
    (card.folder / "config.toml.rejected").write_text("the previous settings")
    (tmp_path / "mine.toml").write_text("")
    assert card.lay(tmp_path / "mine.toml").returncode == 0
    assert not (card.folder / "config.toml.rejected").exists()
    (card.made.checkout / "appliance/__init__.py").write_text('__version__ = "1.2.4"\n')
    card.lay(bundle=card.made.signed_by(card.made.key, "aarch64"))
    assert [path.name[:22] for path in card.folder.glob("*.bundle")] == ["interview-grader-1.2.4"]
    assert card.runcmd().count(OURS) == 1


def test_the_bundle_may_be_the_one_on_the_card(card: Card) -> None:
    """Copied there by hand, under any name."""
    content = card.bundle.read_bytes()
    card.folder.mkdir()
    for name in ("mine.bundle", card.bundle.name):
        for path in card.folder.iterdir():
            path.unlink()
        (card.folder / name).write_bytes(content)
        assert card.lay(bundle=card.folder / name).returncode == 0
        [laid] = card.folder.glob("*.bundle")
        assert (laid.name, laid.read_bytes()) == (card.bundle.name, content)


def test_files_with_windows_line_endings_work_on_the_board(card: Card) -> None:
    """As git writes them on Windows."""
    signers = card.made.signers
    signers.write_bytes(signers.read_bytes().replace(b"\n", b"\r\n"))
    assert card.lay().returncode == 0
    assert b"\r" not in (card.folder / "release_signers").read_bytes()


def test_a_factory_name_is_replaced_and_reported(card: Card) -> None:
    card.user_data.write_text(USER_DATA.replace("room1", "raspberrypi"))
    done = card.lay()
    assert "named interview-grader: raspberrypi is a factory name" in done.stdout
    assert yaml.safe_load(card.user_data.read_text())["hostname"] == "interview-grader"
    assert "factory" not in card.lay().stdout


def test_without_cloud_init_the_next_step_is_printed(card: Card) -> None:
    card.user_data.unlink()
    done = card.lay()
    assert done.returncode == 0 and not card.user_data.exists()
    assert "log in" in done.stdout and "sudo sh /boot/firmware/interview-grader/first-boot" in done.stdout


def test_a_bundle_for_another_machine_causes_a_warning(card: Card) -> None:
    done = card.lay(bundle=card.made.signed_by(card.made.key, "x86_64"))
    assert done.returncode == 0 and "made for x86_64" in done.stderr and "aarch64" in done.stderr


def test_a_refusal_leaves_the_card_unchanged(card: Card, tmp_path: Path) -> None:
    before = card.content()
    broken, foreign = tmp_path / "broken.toml", tmp_path / "foreign.toml"
    broken.write_text("[camera]\nbackend = usb\n")
    foreign.write_bytes(b"\xff\xfe[\0")
    for done, words in (
        (card.lay(bundle=tmp_path / "none.bundle"), "none.bundle"),
        (card.lay(tmp_path / "none.toml"), "none.toml"),
        (card.lay(foreign), "foreign.toml"),
        *([(card.lay(broken), "line 2")] if sys.version_info >= (3, 11) else []),
    ):
        assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1, done
        assert card.content() == before
    done = card.lay(bundle=card.made.signed_by(make_key(tmp_path, "stranger"), "aarch64"))
    assert done.returncode == 2 and "does not know" in done.stderr and card.content() == before


def test_unsupported_user_data_leaves_the_card_unchanged(card: Card) -> None:
    card.user_data.write_text('#cloud-config\n"runcmd": [ls]\n')
    before = card.content()
    done = card.lay()
    assert done.returncode == 2 and "user-data, line 2" in done.stderr and done.stderr.count("\n") == 1
    assert card.content() == before


def test_a_python_that_is_too_old_is_refused_in_one_line(card: Card) -> None:
    before = card.content()
    older = ELSEWHERE.replace("import runpy, sys", "import runpy, sys; sys.version_info = (3, 9, 6)")
    command = [sys.executable, "-c", older, str(ROOT / "provisioning/card"), str(card.boot), "a", "b"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "install 3.10 or newer" in done.stderr and done.stderr.count("\n") == 1
    assert card.content() == before


def test_another_folder_is_refused(card: Card) -> None:
    card.user_data.unlink()
    (card.boot / "config.txt").unlink()
    done = card.lay()
    assert done.returncode == 2 and "expected the card's boot partition" in done.stderr
    assert card.content() == {}
