"""The commands `access` and `token`: who may log in, from a shell on the device."""

from __future__ import annotations

import argparse
import getpass
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from appliance.errors import AccessError
from appliance.system.native import as_owner
from appliance.system.terminal import print_line

Find = Callable[[argparse.Namespace], Path]
Commands: TypeAlias = "argparse._SubParsersAction[Any]"  # it has no public name

_ROLES = ("viewer", "operator", "metrics")


def add_commands(commands: Commands, common: argparse.ArgumentParser, find: Find) -> None:
    """Add `access` and `token`; `find` says of parsed arguments where state is kept."""
    access = commands.add_parser("access", help="list accounts, add or remove viewers, reset the operator")
    actions = access.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(
        name: str, do: Callable[[argparse.Namespace, Path], None], help: str
    ) -> argparse.ArgumentParser:
        return _action(actions, common, find, name, do, help)

    action("list", _list, "every account, and the certificate's fingerprint")
    for name, do, help in (
        ("add-viewer", _add_viewer, "make an account that may watch; the password is asked for"),
        ("remove", _remove, "remove a viewer"),
    ):
        action(name, do, help).add_argument("name", metavar="NAME")
    action("reset", _reset, "forget the operator's password and print a new first code; erases nothing else")

    token = commands.add_parser("token", help="create, list or revoke tokens for scripts")
    actions = token.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = action("create", _create, "make a token and print it, this once")
    create.add_argument("name", metavar="NAME")
    create.add_argument("--role", choices=_ROLES, default="viewer", help="what it may do (default: viewer)")
    action("list", _tokens, "name, role and last use of every token")
    action("revoke", _revoke, "make a token void").add_argument("name", metavar="NAME")


def _action(
    actions: Commands,
    common: argparse.ArgumentParser,
    find: Find,
    name: str,
    do: Callable[[argparse.Namespace, Path], None],
    help: str,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, parents=[common], help=help)

    def run(options: argparse.Namespace) -> int:
        folder = find(options)
        with as_owner(folder):
            do(options, folder)
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
    _note(folder, what="added", name=options.name)
    print_line(f"{options.name} can log in now")


def _remove(options: argparse.Namespace, folder: Path) -> None:
    from appliance.auth.accounts import Accounts

    Accounts(folder).remove(options.name)
    _note(folder, what="removed", name=options.name)
    print_line(f"{options.name} is removed and logged out")


def _reset(options: argparse.Namespace, folder: Path) -> None:
    from appliance.audit import AuditLog
    from appliance.auth.accounts import Accounts
    from appliance.auth.reset import reset_access

    code = reset_access(Accounts(folder), AuditLog(folder), "shell")
    print(f"first code: {code}\nOpen /login and set the operator's password with it; it is valid once.")


def _create(options: argparse.Namespace, folder: Path) -> None:
    from appliance.auth.tokens import Tokens

    secret = Tokens(folder).create(options.name, options.role)
    _note(folder, what="token created", name=options.name, role=options.role)
    print(secret)
    print("Keep it now, it is not shown again. Use: Authorization: Bearer TOKEN", file=sys.stderr)


def _tokens(options: argparse.Namespace, folder: Path) -> None:
    from appliance.auth.tokens import Tokens

    for name, token in Tokens(folder).all().items():
        used = (
            time.strftime("last used %Y-%m-%d %H:%M UTC", time.gmtime(token.used))
            if token.used
            else "not used"
        )
        print_line(f"{name:<32} {token.role:<9} {used}")


def _revoke(options: argparse.Namespace, folder: Path) -> None:
    from appliance.auth.tokens import Tokens

    Tokens(folder).revoke(options.name)
    _note(folder, what="revoked", name=options.name)
    print_line(f"{options.name} is void")


def _password() -> str:
    """Asked for twice on a terminal; from a script, the first line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("Password for the viewer: ")
    if getpass.getpass("Once more: ") != password:
        raise AccessError("the two passwords are not the same; try again")
    return password


def _note(folder: Path, **details: str) -> None:
    from appliance.audit import AuditLog

    AuditLog(folder).require("access", "shell", **details)
