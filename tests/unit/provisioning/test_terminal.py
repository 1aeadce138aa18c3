"""Commands of root: the service cannot type into root's terminal, and a person still can."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import at_terminal
from tests.fakes.at_terminal import ATTACK, AtTerminal
from tests.machine import ROOT

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

PROGRAM = Path(at_terminal.__file__)
PYTHON = "/usr/bin/python3"  # one that every user may run
PATHS = {"PYTHONPATH": f"{ROOT}/provisioning:{ROOT}"}


def typed(how: str, program: str, **environment: str) -> AtTerminal:
    """A Python program that root runs at a terminal."""
    return AtTerminal(
        sys.executable, PROGRAM, how, PYTHON, "-I", "-u", "-c", program, environment={**PATHS, **environment}
    )


HOW = pytest.mark.parametrize("how", ["confined", "by-systemd"])


@HOW
def test_code_of_the_service_cannot_type_into_roots_terminal(how: str) -> None:
    at = typed(how, ATTACK)
    assert at.code() == 0, at.shown
    assert "attacked as 65534 with 1" in at.shown, "it ran, as another user, with no new privileges"
    assert "typed by it: 0 bytes" in at.shown


@pytest.mark.skipif(
    Path("/proc/sys/dev/tty/legacy_tiocsti").read_text() != "1\n"
    if Path("/proc/sys/dev/tty/legacy_tiocsti").exists()
    else False,
    reason="this kernel lets no program type into a terminal",
)
def test_without_its_own_session_it_could() -> None:
    at = typed("bare", ATTACK)
    assert at.code() == 0
    assert "typed by it: 0 bytes" not in at.shown, (
        "else the attack does not work, and the test above shows nothing"
    )


ASKS = """
import getpass
first, second = getpass.getpass("Passphrase: "), getpass.getpass("Again: ")
print("the same" if first == second else "others", len(first), ascii(first))
"""


@HOW
def test_a_typed_password_is_not_shown(how: str) -> None:
    at = typed(how, ASKS)
    for words in ("Passphrase: ", "Again: "):
        at.wait_for(words)
        at.type("straße 7\n")
    assert at.code() == 0
    assert "the same 8 'stra\\xdfe 7'" in at.shown and "straße" not in at.shown
    assert "echo: True" in at.shown, "the terminal is restored"


@pytest.mark.parametrize(("how", "given"), [("confined", "with \x7f\x15 and ü"), ("by-systemd", "with ü")])
def test_a_given_password_is_typed_with_any_characters(how: str, given: str) -> None:
    at = typed(how, ASKS, ANSWER=given)
    assert at.code() == 0
    assert f"the same {len(given)} {given!a}" in at.shown
    assert given not in at.shown.replace(f"{given!a}", ""), "it is answered, and not shown"


LATE = """
import sys, termios, time
mode = termios.tcgetattr(0)
quiet, loud = mode[3] & ~termios.ECHO, mode[3]
for _ in range(200):
    for mode[3] in (quiet, loud):
        termios.tcsetattr(0, termios.TCSAFLUSH, mode)
        time.sleep(0.0005)
"""


@HOW
def test_a_password_typed_too_late_is_not_shown_either(how: str) -> None:
    """The command may show what is typed again at any moment."""
    at = typed(how, LATE, ANSWER="a secret")
    assert at.code() == 0
    assert "a secret" not in at.shown


@pytest.mark.parametrize("key", ["\x03", "\x1c"], ids=["Ctrl-C", "Ctrl-\\"])
def test_an_interrupt_key_reaches_it(key: str) -> None:
    program = """
import signal, sys, time
for number in (signal.SIGINT, signal.SIGQUIT):
    signal.signal(number, lambda number, frame: sys.exit(40 + number))
print("ready")
time.sleep(60)
"""
    at = typed("confined", program)
    at.wait_for("ready")
    at.type(key)
    assert at.code() == {"\x03": 42, "\x1c": 43}[key]


def test_the_exit_code_and_all_output_are_passed_on() -> None:
    at = typed("confined", "import sys; print('a line\\n' * 20000 + 'the last'); sys.exit(7)")
    assert at.code() == 7
    assert at.shown.count("a line") == 20000 and "the last" in at.shown
    assert typed("confined", "import os; os.kill(os.getpid(), 9)").code() == 137


def test_control_characters_in_its_output_are_escaped() -> None:
    at = typed("confined", r"print('\x1b]0;title\x07 \u202e \x9b31m \xe4')")
    assert at.code() == 0
    assert r"\u001b]0;title\u0007 \u202e \u009b31m ä" in at.shown and "\x1b" not in at.shown


def test_pipes_are_passed_on_unchanged() -> None:
    copies = "import sys; data = sys.stdin.buffer.read(); sys.stdout.buffer.write(data + data)"
    done = subprocess.run(
        [sys.executable, "-c", RUNS, PYTHON, "-I", "-c", copies],
        input=b"a\x1b\n",
        capture_output=True,
        env={**os.environ, **PATHS},
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"a\x1b\na\x1b\n"), done


RUNS = """
import os, sys
from device.system import terminal
sys.exit(terminal.run_in_own_terminal(sys.argv[1:], dict(os.environ), lambda *_: None))
"""
