"""Runs a command at a terminal, as a person does: `typed.py COMMAND PASSPHRASE`.

Types the passphrase at each prompt, and writes what the terminal shows to standard output.
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
