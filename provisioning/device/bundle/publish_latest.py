"""`provisioning/latest`: say which bundles are the newest, signed and for some weeks."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime, timezone
from pathlib import Path

from device.arguments import Parser
from device.bundle import latest, signing
from device.errors import BundleError, DeviceError

KEY = Path("~/.config/interview-grader/latest_key")
"""Made at the first run. It can say which release is the newest, and installs none."""

DAYS = 60


def main(arguments: list[str], checkout: Path) -> int:
    """Returns the exit code: 0 made, 1 a fault, 2 something to change."""
    parser = Parser(
        prog="provisioning/latest", description="Say which bundles are the newest, for devices that look."
    )
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE", help="one for each kind of device")
    parser.add_argument("--days", type=int, default=DAYS, help=f"how long that is valid (default: {DAYS})")
    parser.add_argument(
        "--key", type=Path, default=KEY.expanduser(), help=f"private key of OpenSSH (default: {KEY})"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=checkout / "dist" / latest.NAME,
        metavar="FILE",
        help="default: dist/latest",
    )
    options = parser.parse_args(arguments)
    try:
        return _make(options)
    except (DeviceError, OSError) as error:
        print(f"latest: {error}", file=sys.stderr)
        return error.code if isinstance(error, DeviceError) else 1


def _make(options: argparse.Namespace) -> int:
    if not 1 <= options.days <= 366:
        raise BundleError(f"--days {options.days}: expected 1 to 366")
    key: Path = options.key
    if not key.exists():
        signing.make_key(key, latest.PURPOSE)
        print(f"latest: made {key}")
    now = datetime.now(timezone.utc)
    content = latest.build(options.bundles, key, now, options.days)
    partial = options.out.with_name(f".{options.out.name}.new")
    partial.write_bytes(content)
    partial.replace(options.out)
    line = signing.public_line(key, latest.PURPOSE).strip()
    print(f"latest: {options.out}; make it again within {options.days} days, also without a new release")
    print(f"latest: signed; devices that look need this line: {line}")
    return 0
