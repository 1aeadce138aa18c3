"""`setup.sh install --uninstall`: everything goes but what belongs to the owner."""

from __future__ import annotations

import os
import shutil

from device import accounts, extras, hostname, placed, service
from device.faults import Refused
from device.places import USER, Places
from device.record import Record
from device.shell import attempt, succeeds


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
    extras.remove_all(places)
    placed.remove_all(places)
    hostname.put_back(record)
    accounts.remove(USER, record)
    _give_to_root(places)
    shutil.rmtree(places.opt, ignore_errors=True)
    attempt("systemctl", "daemon-reload")
    if succeeds("udevadm", "control", "--reload"):
        attempt("udevadm", "trigger", "--subsystem-match=usb")
    print(f"uninstall: done; your data was kept: {' and '.join(kept) or 'there was none'}")
    if kept:
        print(f"uninstall: to erase it too: sudo rm -r {' '.join(kept)}")


def _give_to_root(places: Places) -> None:
    """The number of the user that owned the data may be given to another one; a new service takes it back."""
    for top in (places.state, places.config / "secrets"):
        for folder, _, files in os.walk(top):
            for path in (folder, *(os.path.join(folder, name) for name in files)):
                os.lchown(path, 0, 0)
