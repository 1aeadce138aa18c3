"""Runs a command as somebody does who sits at a terminal: `typed.py COMMAND PASSPHRASE`.

Whenever it asks for something, the passphrase is typed. What the terminal shows comes on standard output.
"""

from __future__ import annotations

import os
import pty
import sys

command, passphrase = sys.argv[1:]


def read(terminal: int) -> bytes:
    shown = os.read(terminal, 4096)
    if shown.endswith((b"Passphrase: ", b"Again: ")):
        os.write(terminal, passphrase.encode() + b"\n")
    return shown


sys.exit(os.waitstatus_to_exitcode(pty.spawn(["sh", "-c", command], read)))
