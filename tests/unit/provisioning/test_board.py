"""Detecting the board, refusing unsuitable ones, and the files of each board."""

from __future__ import annotations

from pathlib import Path

import pytest
from device.layout import Layout
from device.system.board import OVERLAY_ROOT, Board, find_board, has_overlay_root, missing_requirements
from device.system.packages import read_packages
from device.system.release_files import Copy, all_files, install, remove_all, stale_files
from device.system.sandbox import Sandbox

from appliance.configuration.layers import ConfigOptions
from appliance.configuration.load import load_config
from tests.machine import ROOT

BOARDS = ROOT / "provisioning/boards"
FITS = {
    "version": (3, 11),
    "bits": 64,
    "machine": "aarch64",
    "free_mb": 9000,
    "memory_mb": 4000,
    "systemd": True,
}


@pytest.mark.parametrize(
    ("model", "board"),
    [
        ("Raspberry Pi 5 Model B Rev 1.0\0", "raspberry-pi"),
        ("Raspberry Pi 4 Model B Rev 1.5\0", "raspberry-pi"),
        ("NVIDIA Jetson Orin Nano Developer Kit\0", "jetson"),
        ("Firefly RK3399 Board\0", "pc"),
    ],
)
def test_a_board_is_known_by_its_firmware(tmp_path: Path, model: str, board: str) -> None:
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/model").write_bytes(model.encode())
    assert find_board(tmp_path) == Board(board, model.rstrip("\0"))


def test_a_jetson_is_known_by_its_release_too(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").write_text("# R36 (release), REVISION: 4.0\n")
    assert find_board(tmp_path).name == "jetson"


def test_a_computer_without_a_device_tree_is_a_pc(tmp_path: Path) -> None:
    assert find_board(tmp_path).name == "pc"


def test_a_board_that_fits_is_not_refused(tmp_path: Path) -> None:
    assert missing_requirements(tmp_path, **FITS) == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"bits": 32}, "32-bit"),
        ({"machine": "armv7l"}, "armv7l"),
        ({"version": (3, 9)}, "Python 3.9 is too old, expected 3.10"),
        ({"free_mb": 300}, "300 MB left, expected"),
        ({"memory_mb": 436}, "436 MB of memory, expected a board with 1 GB"),
        ({"systemd": False}, "not started by systemd"),
    ],
)
def test_an_unsuitable_board_is_refused(tmp_path: Path, fault: dict[str, object], words: str) -> None:
    (reason,) = missing_requirements(tmp_path, **{**FITS, **fault})
    assert words in reason and "\n" not in reason


@pytest.mark.parametrize(
    ("kb", "fits"),
    [(426_068, False), (512 << 10, False), (745_000, True), (908_000, True), (1_008_000, True)],
    ids=["Zero 2 W", "512 MB", "1 GB, gpu_mem=256", "1 GB", "1 GB, nothing for a GPU"],
)
def test_a_board_with_less_than_1_gb_is_refused(tmp_path: Path, kb: int, fits: bool) -> None:
    """By the memory that the kernel counts, which is less than printed on the board."""
    (tmp_path / "meminfo").write_text(f"MemTotal:  {kb:>12} kB\nMemFree:  1000 kB\n")
    (tmp_path / "mounts").write_text("")
    (tmp_path / "cmdline").write_text("")
    reasons = missing_requirements(tmp_path, **{**FITS, "memory_mb": None}, proc=tmp_path)
    assert bool(reasons) is not fits


ROOT_OF = {
    "a card": ("/dev/mmcblk0p2 / ext4 rw,noatime 0 0", "root=PARTUUID=1 rootwait"),
    "a container": ("overlay / overlay rw,lowerdir=/a,upperdir=/b,workdir=/c 0 0", "quiet"),
    "raspi-config's": ("overlay / overlay rw,lowerdir=/lower,upperdir=/upper 0 0", "boot=overlay rootwait"),
    "overlayroot's": ("overlayroot / overlay rw,lowerdir=/media/root-ro 0 0", "root=PARTUUID=1"),
    "switched off": ("/dev/mmcblk0p2 / ext4 rw 0 0\noverlay /srv/1 overlay rw 0 0", "boot=overlay"),
}


@pytest.mark.parametrize("root", ROOT_OF)
def test_an_overlay_that_loses_its_content_is_refused(tmp_path: Path, root: str) -> None:
    mounts, cmdline = ROOT_OF[root]
    (tmp_path / "mounts").write_text(f"proc /proc proc rw 0 0\n{mounts}\n")
    (tmp_path / "cmdline").write_text(cmdline + "\n")
    assert has_overlay_root(tmp_path) == (root in ("raspi-config's", "overlayroot's"))
    reasons = missing_requirements(tmp_path, **FITS, proc=tmp_path)
    assert reasons == ([OVERLAY_ROOT] if has_overlay_root(tmp_path) else [])


@pytest.mark.parametrize("board", ["pc", "raspberry-pi", "jetson"])
def test_every_board_has_its_files(board: str) -> None:
    packages = {package.name: package for package in read_packages(BOARDS, board)}
    assert packages["python3-venv"].needed and not packages["avahi-daemon"].needed
    assert "python3-systemd" not in packages, "the standard library talks to systemd"
    assert all(package.purpose for package in packages.values())
    config = load_config(ConfigOptions(config=BOARDS / f"{board}.toml"), {})
    web = config.web
    assert (web.host, web.port, web.redirect_port, config.needs_login) == ("0.0.0.0", 443, 80, True)


def test_only_a_board_with_pins_has_lamps() -> None:
    lamps = {
        board: load_config(ConfigOptions(config=BOARDS / f"{board}.toml"), {}).lamps.backend
        for board in ("pc", "raspberry-pi", "jetson")
    }
    assert lamps == {"pc": "none", "raspberry-pi": "gpiozero", "jetson": "jetson"}


def test_a_raspberry_pi_drives_its_pins_through_lgpio() -> None:
    config = load_config(ConfigOptions(config=BOARDS / "raspberry-pi.toml"), {})
    lamps = config.lamps.settings.model_dump()
    assert (lamps["factory"], config.session.button_factory) == ("lgpio", "lgpio")
    assert config.session.button_pin == -1, "none until the owner sets it"


@pytest.mark.parametrize(
    ("folder", "placed"),
    [
        ("rules.d", "rules.d/50-interview-grader.rules"),
        ("localauthority/50-local.d", "localauthority/50-local.d/interview-grader.pkla"),
        (None, None),
    ],
    ids=["polkit", "polkit before 0.106", "no polkit"],
)
def test_the_button_may_switch_off_by_the_rule_for_the_polkit_version(
    tmp_path: Path, folder: str | None, placed: str | None
) -> None:
    polkit, layout = tmp_path / "etc/polkit-1", Layout(tmp_path)
    if folder:
        (polkit / folder).mkdir(parents=True)
    files = [file for file in all_files(layout, "pc", ROOT) if "polkit" in str(file.path)]
    for file in files:
        if not file.is_current():
            file.install()
    assert [path for path in polkit.rglob("*") if path.is_file()] == ([polkit / placed] if placed else [])
    if placed:
        assert "org.freedesktop.login1.power-off" in (polkit / placed).read_text()
    remove_all(layout)
    assert not [path for path in polkit.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "library",
    [
        "usr/lib/aarch64-linux-gnu/libedgetpu.so.1",
        "usr/lib/libedgetpu.so.1.0",
        "usr/local/lib/libedgetpu.so.1",
        None,
    ],
)
def test_the_service_may_use_an_edge_tpu_where_its_library_is_installed(
    tmp_path: Path, library: str | None
) -> None:
    layout = Layout(tmp_path)
    for path in (tmp_path / "opt/interview-grader", tmp_path / "usr/lib/python3", tmp_path / "usr/local/lib"):
        path.mkdir(parents=True)
    if library:
        (tmp_path / library).parent.mkdir(exist_ok=True)
        (tmp_path / library).touch()
    install(layout, all_files(layout, "raspberry-pi", ROOT))

    def allowed() -> list[str]:
        return [
            line for line in Sandbox(ROOT, tmp_path, root=tmp_path).properties() if "DeviceAllow=" in line
        ]

    tpu = ["DeviceAllow=char-usb_device rw", "DeviceAllow=char-apex rw"]
    assert [line for line in allowed() if line in tpu] == (tpu if library else [])
    assert "DeviceAllow=char-video4linux rw" in allowed()
    if library:
        (tmp_path / library).unlink()
        install(layout, all_files(layout, "raspberry-pi", ROOT))
        assert not set(tpu) & set(allowed()), "removed with its library"


def test_files_of_another_release_are_removed_and_the_owners_files_stay(tmp_path: Path) -> None:
    layout, units = Layout(tmp_path), tmp_path / "etc/systemd/system"
    layout.opt.mkdir(parents=True)
    units.mkdir(parents=True)
    (units / "interview-grader-backup.service").write_text("the owner's own")
    files = all_files(layout, "pc", ROOT)
    extra = Copy(units / "interview-grader-extra.timer", ROOT / "systemd/interview-grader-look.timer")
    came = install(layout, [*files, extra])
    assert extra.path in came and extra.is_current() and stale_files(layout, [*files, extra]) == []
    assert install(layout, [*files, extra]) == []

    assert stale_files(layout, files) == [extra.path]
    assert install(layout, files) == []
    assert not extra.path.exists() and all(file.is_current() for file in files)
    assert (units / "interview-grader-backup.service").read_text() == "the owner's own"

    install(layout, [*files, extra])
    remove_all(layout)
    left = [path.name for path in tmp_path.rglob("*") if path.is_file() or path.is_symlink()]
    assert sorted(left) == ["installed.json", "interview-grader-backup.service"]
