"""The commands `access` and `token`: who may log in, from a shell on the device."""

from __future__ import annotations

import argparse
import getpass
import sys
import time
from collections.abc import Callable
from pathlib import Path

from appliance.commands.arguments import Commands, find_state_dir, state_options
from appliance.errors import AccessError
from appliance.system.native import as_owner
from appliance.system.terminal import print_line

Action = Callable[[argparse.Namespace, Path], None]
"""What a command does, given its arguments and the state directory."""

_ROLES = ("viewer", "operator", "metrics", "analyze")


def add_commands(commands: Commands) -> None:
    """Add `access` and `token`."""
    access = commands.add_parser("access", help="list accounts, add or remove viewers, reset the password")
    actions = access.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add(actions, "list", _list, "list accounts, and the certificate's fingerprint")
    for name, action, help in (
        ("add-viewer", _add_viewer, "add an account that may watch; asks for its password"),
        ("remove", _remove, "remove a viewer"),
    ):
        _add(actions, name, action, help).add_argument("name", metavar="NAME")
    _add(
        actions,
        "reset",
        _reset,
        "delete the operator's password and print a new first code; nothing else is erased",
    )

    token = commands.add_parser("token", help="create, list or revoke tokens for scripts")
    actions = token.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = _add(actions, "create", _create, "create a token and print it once")
    create.add_argument("name", metavar="NAME")
    create.add_argument("--role", choices=_ROLES, default="viewer", help="what it may do (default: viewer)")
    _add(actions, "list", _list_tokens, "list tokens with their role and last use")
    _add(actions, "revoke", _revoke, "revoke a token").add_argument("name", metavar="NAME")


def _add(actions: Commands, name: str, action: Action, help: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, parents=[state_options()], help=help)

    def run(options: argparse.Namespace) -> int:
        folder = find_state_dir(options)
        with as_owner(folder):
            action(options, folder)
        return 0

    parser.set_defaults(function=run)
    return parser


def _list(options: argparse.Namespace, folder: Path) -> None:
    from appliance.auth.accounts import Accounts
    from appliance.auth.certificate import DeviceCertificate

    names = Accounts(folder).roles()
    for name, role in names.items():
        print_line(f"{name:<32} {role}")
    if "operator" not in names:
        print_line("the operator has no password yet: each start on the network logs a first code for /login")
    if fingerprint := DeviceCertificate(folder).fingerprint():
        print_line(f"the device's own certificate, SHA-256: {fingerprint}")


def _add_viewer(options: argparse.Namespace, folder: Path) -> None:
    from appliance.auth.accounts import Accounts

    Accounts(folder).add_viewer(options.name, _password())
    _audit(folder, what="added", name=options.name)
    print_line(f"{options.name} can log in now")


def _remove(options: argparse.Namespace, folder: Path) -> None:
    from appliance.auth.accounts import Accounts

    Accounts(folder).remove(options.name)
    _audit(folder, what="removed", name=options.name)
    print_line(f"removed {options.name} and ended their logins")


def _reset(options: argparse.Namespace, folder: Path) -> None:
    from appliance.audit import AuditLog
    from appliance.auth.accounts import Accounts
    from appliance.auth.reset import reset_access

    code = reset_access(Accounts(folder), AuditLog(folder), "shell")
    print(f"first code: {code}\nOpen /login and use it to set the operator's password; it is valid once.")


def _create(options: argparse.Namespace, folder: Path) -> None:
    from appliance.auth.tokens import Tokens

    secret = Tokens(folder).create(options.name, options.role)
    _audit(folder, what="token created", name=options.name, role=options.role)
    print(secret)
    print("Save it: it is not shown again. Use: Authorization: Bearer TOKEN", file=sys.stderr)


def _list_tokens(options: argparse.Namespace, folder: Path) -> None:
    from appliance.auth.tokens import Tokens

    for name, token in Tokens(folder).all().items():
        used = (
            time.strftime("last used %Y-%m-%d %H:%M UTC", time.gmtime(token.used))
            if token.used
            else "never used"
        )
        print_line(f"{name:<32} {token.role:<9} {used}")


def _revoke(options: argparse.Namespace, folder: Path) -> None:
    from appliance.auth.tokens import Tokens

    Tokens(folder).revoke(options.name)
    _audit(folder, what="revoked", name=options.name)
    print_line(f"revoked {options.name}")


def _password() -> str:
    """Ask twice on a terminal; else take the first line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("Password for the viewer: ")
    if getpass.getpass("Again: ") != password:
        raise AccessError("the passwords do not match; try again")
    return password


def _audit(folder: Path, **details: str) -> None:
    from appliance.audit import AuditLog

    AuditLog(folder).require("access", "shell", **details)
