"""`provisioning/latest`: write the signed file that names the newest bundles, valid for some weeks."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime, timezone
from pathlib import Path

from device.arguments import Parser
from device.bundle import latest, signing
from device.errors import BundleError, DeviceError

KEY = Path("~/.config/interview-grader/latest_key")
"""Created at the first run. It can name the newest release, but cannot sign one."""

DAYS = 60


def main(arguments: list[str], checkout: Path) -> int:
    """Returns the exit code: 0 done, 1 a fault, 2 the user must change something."""
    parser = Parser(
        prog="provisioning/latest", description="Write the signed file that names the newest bundles."
    )
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE", help="one for each kind of device")
    parser.add_argument("--days", type=int, default=DAYS, help=f"days that it is valid (default: {DAYS})")
    parser.add_argument(
        "--key", type=Path, default=KEY.expanduser(), help=f"OpenSSH private key (default: {KEY})"
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
        print(f"latest: created {key}")
    now = datetime.now(timezone.utc)
    content = latest.build(options.bundles, key, now, options.days)
    partial = options.out.with_name(f".{options.out.name}.new")
    partial.write_bytes(content)
    partial.replace(options.out)
    line = signing.public_line(key, latest.PURPOSE).strip()
    print(f"latest: {options.out}; make it again within {options.days} days, even without a new release")
    print(f"latest: signed; devices that check for releases need this line: {line}")
    return 0
