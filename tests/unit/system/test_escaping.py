"""Control characters for a terminal are escaped: in text, in the log, and in printed output."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest
from device import text as of_device

from appliance.system.terminal import EscapingFormatter, escape_controls, escaped_output
from tests.machine import ROOT

STEERING = [*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x200F]


@pytest.mark.parametrize("code", STEERING)
def test_control_characters_and_direction_marks_are_escaped(code: int) -> None:
    assert escape_controls(f"a{chr(code)}b") == f"a\\u{code:04x}b"


def test_text_in_any_script_is_unchanged() -> None:
    text = "Grüße, 日本語, עברית 🙂 \\u001b"
    assert escape_controls(text) == text


@pytest.mark.parametrize("code", [code for code in STEERING if code >= 0x7F])
def test_json_keeps_its_meaning(code: int) -> None:
    text = json.dumps({"a": chr(code)}, ensure_ascii=False)
    assert json.loads(escape_controls(text)) == {"a": chr(code)}


def test_the_log_has_one_line_per_entry() -> None:
    formatter = EscapingFormatter("%(levelname)s %(message)s")
    record = logging.LogRecord("x", logging.INFO, "x", 1, "from %s", ("\x1b[31m\nINFO fine",), None)
    assert formatter.format(record) == "INFO from \\u001b[31m\\u000aINFO fine"


def test_a_traceback_keeps_its_lines_and_nothing_else() -> None:
    try:
        raise ValueError("\x1b[31m")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "x", 1, "bad", (), sys.exc_info())
    lines = EscapingFormatter("%(message)s").format(record).splitlines()
    assert lines[0] == "bad" and lines[-1] == "ValueError: \\u001b[31m"


def test_printed_text_is_escaped_and_bytes_are_not(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with escaped_output():
        print("a\x1b[31m\rb\n\tc")
        print("bar\rbar\x9b", file=sys.stderr)
        sys.stdout.flush()
        sys.stdout.buffer.write(b"\x1b")
        sys.stdout.flush()
    out, errors = capfdbinary.readouterr()
    assert out == b"a\\u001b[31m\\u000db\n\tc\n\x1b"
    assert errors == b"bar\rbar\\u009b\n"


@pytest.mark.parametrize(("program", "command"), [("install", []), ("update", ["list"]), ("release", [])])
def test_roots_commands_also_escape(program: str, command: list[str]) -> None:
    words = [sys.executable, ROOT / "provisioning" / program, *command, "--no-such\x1b[31m\u202e"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--no-such\\u001b[31m\\u202e" in done.stderr and "\x1b" not in done.stderr


def test_root_escapes_the_same_characters(capsys: pytest.CaptureFixture[str]) -> None:
    text = "".join(map(chr, range(0x2100)))
    with of_device.escaped_output():
        print(text)
    assert capsys.readouterr().out == escape_controls(text, keep="\n\t") + "\n"
