"""Adds the command of the first boot to `runcmd` in the Raspberry Pi Imager's `user-data` (cloud-config).

Uses no YAML library, since it runs on the owner's computer: it parses only enough to find where the list
`runcmd` begins and ends, and refuses anything unclear. All other lines stay unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from device.errors import UserError

COMMAND = "[sh, /boot/firmware/interview-grader/first-boot]"
"""The item of `runcmd`, as YAML. It comes last, since earlier commands may unblock the network."""

_HEADER = "#cloud-config"
_KEY = "runcmd"
_NULL = re.compile(rf"{_KEY}:\s*(?:~|null|Null|NULL)?(?=\s*$|\s+#)")
_OURS = re.compile(
    r"""\s*-\s+\[?\s*["']?sh["']?[\s,]+["']?/boot/firmware/interview-grader/first-boot["']?\s*\]?(\s*|\s+#.*)"""
)
_OURS_IN_FLOW = re.compile(rf"(,\s*)?{re.escape(COMMAND)}")


@dataclass
class _Entry:
    """A key of the file: `lines[start:end]`, up to its last line that is neither blank nor a comment."""

    key: str
    start: int
    end: int


def with_command(text: str) -> str:
    """The file with `COMMAND` as the last item of its only `runcmd`; raises `UserError` if it is unclear.

    A second call changes nothing. A second `runcmd` with only our command is removed.
    """
    ending = "\r\n" if "\r\n" in text else "\n"
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n") if text.strip(" \t\r\n") else [_HEADER]
    for index, line in enumerate(lines):
        if odd := re.search(r"[^\S \t]", line):  # Python and YAML treat it differently
            raise _unclear(index, f"{odd[0]!r} is not supported")
    if lines[0].rstrip() != _HEADER:
        raise _unclear(0, f"expected {_HEADER}")
    found = _lists(lines)
    for entry in reversed(found):
        before = lines[entry.start : entry.end]
        block = _without_ours(before)
        gone = len(found) > 1 and block != before and _is_empty(block)
        lines[entry.start : entry.end] = [] if gone else block
    found = _lists(lines)
    if len(found) > 1:
        raise _unclear(found[1].start, f"a second {_KEY}: cloud-init runs only the last")
    if found:
        (entry,) = found
        lines[entry.start : entry.end] = _with_ours(lines[entry.start : entry.end], entry.start)
    else:
        lines += [f"{_KEY}:", f"  - {COMMAND}"]
    return ending.join([*lines, ""])


def with_name(text: str, name: str, replaced: Collection[str]) -> tuple[str, str]:
    """Set the hostname to `name` if it is one of `replaced`; returns the file, and the replaced name or "".

    cloud-init writes /etc/hosts with the file's hostname at every start, even if the device was renamed.
    """
    lines = text.split("\n")
    for entry in _entries([line.removesuffix("\r") for line in lines]):
        found = re.fullmatch(r"""(hostname:\s+)(["']?)([\w-]+)\2(\s*|\s+#.*)""", lines[entry.start])
        if found and found[3] in replaced:
            lines[entry.start] = f"{found[1]}{name}{found[4]}"
            return "\n".join(lines), found[3]
    return text, ""


def _unclear(index: int, why: str) -> UserError:
    return UserError(
        f"user-data, line {index + 1}: {why}; nothing was changed; "
        f"add this to its list {_KEY} yourself: - {COMMAND}"
    )


# --- The list of commands ---


def _lists(lines: list[str]) -> list[_Entry]:
    return [entry for entry in _entries(lines) if entry.key == _KEY]


def _is_empty(block: list[str]) -> bool:
    head = block[0]
    return all(map(_is_silent, block[1:])) and bool(
        _NULL.match(head) or re.match(rf"{_KEY}:\s*\[\s*\]", head)
    )


def _without_ours(block: list[str]) -> list[str]:
    if re.match(rf"{_KEY}:\s*\[", block[0]):
        return [_OURS_IN_FLOW.sub("", block[0]), *block[1:]]
    return [block[0], *(line for line in block[1:] if not _OURS.fullmatch(line))]


def _with_ours(block: list[str], start: int) -> list[str]:
    """`start`: the number of its first line, from 0."""
    head = block[0]
    items = [line for line in block[1:] if not _is_silent(line)]
    if null := _NULL.match(head):
        if not items:
            return [f"{_KEY}:{head[null.end() :]}", *block[1:], f"  - {COMMAND}"]
        if (item := re.match(r"( *)-(?: |$)", items[0])) and head[: null.end()].rstrip() == f"{_KEY}:":
            return [*block, f"{item[1]}- {COMMAND}"]
    end = _end_of_flow(head)
    if end and len(block) == 1 and re.fullmatch(r"\s*|\s+#.*", head[end:]):
        inside = head[head.index("[") + 1 : end - 1].strip()
        comma = ", " if inside and not inside.endswith(",") else " " if inside else ""
        return [f"{_KEY}: [{inside}{comma}{COMMAND}]{head[end:]}"]
    raise _unclear(start, f"{_KEY} is not a list in a supported form")


def _end_of_flow(head: str) -> int:
    """The position after the bracket that closes the list, 0 without one."""
    if not re.match(rf"{_KEY}:\s*\[", head):
        return 0
    ends = (place + 1 for place, sign in enumerate(head) if sign == "]")
    return next((end for end in ends if not _opened(head[:end], "", 0)[0]), 0)


# --- The part of YAML that is needed ---


def _entries(lines: list[str]) -> list[_Entry]:
    """The keys in the first column, in order; raises `UserError`."""
    found: list[_Entry] = []
    opened, scalar, parent = "", 0, -1  # indentation of a block scalar: -1 before its first line
    for index, line in enumerate(lines):
        indent = len(line) - len(line.lstrip(" "))
        if scalar and line.strip():
            scalar = indent if scalar < 0 and indent > parent else scalar
            if 0 < scalar <= indent:
                found[-1].end = index + 1
                continue
            scalar = 0
        if not line.strip() or (not opened and _is_silent(line)) or (line.rstrip() == "---" and not found):
            continue
        if opened and indent == 0:
            raise _unclear(index, "a value of the lines before continues in the first column")
        if not opened and indent == 0 and not re.match("-(?: |$)", line):
            key = re.match(r"([A-Za-z][A-Za-z0-9_-]*):(?=\s|$)", line)
            if not key:
                raise _unclear(index, "expected a key, such as hostname: room1")
            found.append(_Entry(key[1], index, index + 1))
        if not found:
            raise _unclear(index, "expected a key in the first column, such as hostname: room1")
        found[-1].end = index + 1
        opened, header = _opened(line, opened, index)
        if header >= 0:
            scalar, parent = -1, _parent(line, header, index)
    if opened:
        raise _unclear(len(lines) - 1, "a value is not closed")
    return found


def _is_silent(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _parent(line: str, header: int, index: int) -> int:
    """The column of the key or dash that a block scalar belongs to. Raises `UserError`."""
    dashes = re.match(r" *(?:- +)*", line)
    assert dashes  # it matches an empty string too
    if not line[:header].strip():
        raise _unclear(index, "expected | or > (a text of several lines) after its key")
    return dashes.end() if dashes.end() < header else line.rindex("-", 0, header)


def _opened(line: str, opened: str, index: int) -> tuple[str, int]:
    """The brackets and the quote open at its end, and the position of a block scalar's | or >, or -1.

    `opened`: those that are open at its beginning. Raises `UserError` for anything unsupported.
    """
    fresh = not opened or opened[-1] in "[{"  # here a value may begin
    place = -1
    while (place := place + 1) < len(line):
        sign, following = line[place], line[place + 1 : place + 2]
        if opened and opened[-1] in "\"'":
            if sign == "\\" and opened[-1] == '"':
                place += 1
            elif sign == opened[-1]:
                if sign == "'" == following:
                    place += 1
                else:
                    opened, fresh = opened[:-1], False
        elif sign == "#" and (place == 0 or line[place - 1] in " \t"):
            break
        elif sign in " \t":
            continue
        elif fresh and sign in "\"'[{":
            opened, fresh = opened + sign, sign in "[{"
        elif fresh and sign in "!&*":
            raise _unclear(index, f"{sign} is not supported")
        elif fresh and sign in "|>" and not opened:
            if not re.fullmatch(r"[|>][+-]?(\s*|\s+#.*)", line[place:]):
                raise _unclear(index, "expected nothing after | or > (a text of several lines)")
            return opened, place
        elif opened and sign in "]}":
            if opened[-1] + sign not in ("[]", "{}"):
                raise _unclear(index, f"unexpected {sign}")
            opened, fresh = opened[:-1], False
        elif (opened and sign == ",") or (sign == ":" and (opened or following in ("", " ", "\t"))):
            fresh = True
        elif not (fresh and sign in "-?" and following in ("", " ", "\t")):
            fresh = False
    return opened, -1
