"""`interview-grader-update uninstall`: removes everything except the owner's data."""

from __future__ import annotations

import os
import shutil

from device.errors import UserError
from device.install.undo_record import UndoRecord
from device.layout import CHECK_USER, USER, Layout
from device.system import accounts, generated_files, hostname, release_files, service
from device.system.shell import succeeds, try_run


def need_root() -> None:
    """Raises `UserError` unless root runs this."""
    if os.geteuid() != 0:
        raise UserError("needs root: sudo ./setup.sh install")


def uninstall(layout: Layout, *, check: bool) -> None:
    """Stop and remove the service, its user, files and releases; print where the owner's data is."""
    need_root()
    kept = [str(path) for path in (layout.config, layout.state) if path.exists()]
    if check:
        print(f"uninstall: would remove the service, its user, {layout.opt}; would keep {' '.join(kept)}")
        return
    record = UndoRecord(layout.record)
    service.disable()
    generated_files.remove_all(layout)
    release_files.remove_all(layout)
    hostname.restore(record)
    accounts.remove(CHECK_USER, record)
    accounts.remove(USER, record)
    for folder in (layout.state, layout.config / "secrets"):
        if folder.is_dir():  # another user may get the ID of the service's user
            os.lchown(folder, 0, 0)  # first, so that an installation after a power cut repairs all of it
            accounts.change_owner(folder, 0, 0)
    for folder in (layout.opt, layout.unpacking, layout.check_state):
        shutil.rmtree(folder, ignore_errors=True)
    try_run("systemctl", "daemon-reload")
    if succeeds("udevadm", "control", "--reload"):
        try_run("udevadm", "trigger", "--subsystem-match=usb")
    print(f"uninstall: done; your data was kept: {' and '.join(kept) or 'there was none'}")
    if kept:
        print(f"uninstall: to erase it too: sudo rm -r {' '.join(kept)}")
