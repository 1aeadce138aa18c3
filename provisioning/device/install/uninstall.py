"""`interview-grader-update uninstall`: everything goes but what belongs to the owner."""

from __future__ import annotations

import os
import shutil

from device.errors import Refused
from device.install.undo_record import Record
from device.layout import LOOK_USER, USER, Places
from device.system import accounts, generated_files, hostname, release_files, service
from device.system.shell import attempt, succeeds


def need_root() -> None:
    """Raises `Refused` for anybody else."""
    if os.geteuid() != 0:
        raise Refused("needs root: sudo ./setup.sh install")


def uninstall(places: Places, *, check: bool) -> None:
    """Stop and remove the service, its user, its files and the releases; say where the owner's data is."""
    need_root()
    kept = [str(path) for path in (places.config, places.state) if path.exists()]
    if check:
        print(f"uninstall: would remove the service, its user, {places.opt}; would keep {' '.join(kept)}")
        return
    record = Record(places.record)
    service.disable()
    generated_files.remove_all(places)
    release_files.remove_all(places)
    hostname.put_back(record)
    accounts.remove(LOOK_USER, record)
    accounts.remove(USER, record)
    for folder in (places.state, places.config / "secrets"):
        if folder.is_dir():  # the number of the user that owned it may be given to another one
            os.lchown(folder, 0, 0)  # first, so that whoever installs after a cut takes all of it back
            accounts.give(folder, 0, 0)
    for folder in (places.opt, places.unpacking, places.look_state):
        shutil.rmtree(folder, ignore_errors=True)
    attempt("systemctl", "daemon-reload")
    if succeeds("udevadm", "control", "--reload"):
        attempt("udevadm", "trigger", "--subsystem-match=usb")
    print(f"uninstall: done; your data was kept: {' and '.join(kept) or 'there was none'}")
    if kept:
        print(f"uninstall: to erase it too: sudo rm -r {' '.join(kept)}")
