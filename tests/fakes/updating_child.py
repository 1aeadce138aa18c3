"""An update in a separate process, which is killed as soon as it enters a step: STEP, or STEP:SIGTERM.

usage: ROOT STATE SIGNERS KILL_AT update BUNDLE [--now] | rollback VERSION | recover [--boot]
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from device.errors import DeviceError
from device.update import command as update
from device.update.releases import Releases
from device.update.transaction import Device, Updater


def main(root: Path, state: Path, signers: Path, kill_at: str, command: str, *rest: str) -> int:
    at, _, number = kill_at.partition(":")

    def entered(step: str) -> None:
        if step == at:
            os.kill(os.getpid(), signal.Signals[number or "SIGKILL"])

    device = Device(
        Releases(root, python=os.environ["TEST_PYTHON"]), state, signers, user="", healthy_s=8.0, steady_s=0.5
    )
    try:
        update._prepare(root, 60.0)
        updater = Updater(device, update.say, entered)
        if command == "update":
            print(updater.update(Path(rest[0]), now="--now" in rest))
        elif command == "rollback":
            print(updater.roll_back(rest[0], now=False))
        else:
            print(updater.recover(boot="--boot" in rest))
        return 0
    except DeviceError as error:
        print(error, file=sys.stderr)
        return error.code


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:4]), *sys.argv[4:]))
