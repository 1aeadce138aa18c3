"""The parser of every provisioning command line."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from device.errors import USER


class Parser(argparse.ArgumentParser):
    """Reports a mistake in one line, and takes no abbreviated options."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **settings})

    def error(self, message: str) -> NoReturn:
        """Exits with 2."""
        self.exit(USER, f"{self.prog}: {message}; see {self.prog} --help\n")
