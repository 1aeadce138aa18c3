"""The words of the project: finds turns of phrase that are not plain English, listed in ``turns.toml``.

`python -m tests.turns` prints each with its place and a replacement; `--count` prints how often each occurs.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tests.machine import ROOT

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

LISTING = Path(__file__).with_suffix(".toml")
NOT_TEXT = {".jpg", ".json", ".mp4", ".png", ".svg", ".tflite"}
_GAP = r"(?:[ \t]+|[ \t]*\n[ \t]*)"
"""What may separate two words of a turn: never an empty line."""

_LIKE_C = re.compile(
    r"""/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`""", re.DOTALL
)
"""Comments and strings of C, CSS and JavaScript."""

_STRINGS = {
    number
    for name in ("STRING", "FSTRING_START", "FSTRING_MIDDLE", "FSTRING_END", "COMMENT")
    if (number := getattr(tokenize, name, None)) is not None  # FSTRING_*: from Python 3.12
}
_MARKS = re.compile(r"""^#+:?|^[A-Za-z]{0,2}('{3}|"{3}|'|")|('{3}|"{3}|'|")$|\\[nrt]""")


@dataclass(frozen=True)
class Turn:
    """One banned turn, and what to write instead."""

    name: str
    pattern: re.Pattern[str]
    instead: str

    @classmethod
    def read(cls, raw: dict[str, Any]) -> Turn:
        pattern = raw.get("pattern") or rf"\b{re.escape(raw['turn']).replace(chr(92) + ' ', ' ')}\b"
        return cls(raw["turn"], re.compile(pattern.replace(" ", _GAP), re.IGNORECASE), raw["instead"])


@dataclass(frozen=True)
class Allowance:
    """Where a turn may stay: files by a glob; in lines that match, if `line` is not empty."""

    path: str
    turn: str
    line: str
    why: str

    @classmethod
    def read(cls, raw: dict[str, Any]) -> Allowance:
        return cls(raw["path"], raw.get("turn", "*"), raw.get("line", ""), raw["why"])

    def covers(self, finding: Finding) -> bool:
        return (
            fnmatchcase(finding.path, self.path)
            and self.turn in ("*", finding.turn.name)
            and re.search(self.line, finding.source) is not None
        )


@dataclass(frozen=True)
class Finding:
    """A banned turn in a file; `source` is the line on which it begins."""

    path: str
    line: int
    turn: Turn
    text: str
    source: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text!r}: write {self.turn.instead}"


class WordList:
    """The banned turns and where they are allowed."""

    def __init__(self, turns: Iterable[Turn], allowed: Iterable[Allowance] = ()) -> None:
        self.turns, self.allowed = tuple(turns), tuple(allowed)

    @classmethod
    def load(cls, listing: Path = LISTING) -> WordList:
        raw = tomllib.loads(listing.read_text("utf-8"))
        return cls(map(Turn.read, raw["turn"]), map(Allowance.read, raw["allow"]))

    def find(self, path: str, text: str) -> Iterator[Finding]:
        """Every banned turn in a file, allowed or not; `path` is relative to the checkout."""
        words = prose(path, text)
        lines = text.split("\n")
        for turn in self.turns:
            for found in turn.pattern.finditer(words):
                line = words.count("\n", 0, found.start()) + 1
                yield Finding(path, line, turn, " ".join(found[0].split()), lines[line - 1])

    def objections(self, path: str, text: str) -> list[Finding]:
        """Those that are not allowed."""
        return [
            found
            for found in self.find(path, text)
            if not any(allowance.covers(found) for allowance in self.allowed)
        ]


def prose(path: str, text: str) -> str:
    """What a person reads in a file, each character in its place; of code: comments, strings, test names."""
    suffix = Path(path).suffix
    if suffix == ".py" or text.startswith("#!/usr/bin/env python3"):
        return _python_prose(text)
    if suffix in (".c", ".css", ".js"):
        return _c_prose(text)
    return re.sub(r"^[ \t]*(?:#+|>)", _blank, text, flags=re.MULTILINE)


def _python_prose(text: str) -> str:
    lines = text.splitlines(keepends=True)
    begins = [0]
    for line in lines:
        begins.append(begins[-1] + len(line))
    shown = [each if each.isspace() else "\0" for each in text]
    before = ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        first = begins[token.start[0] - 1] + token.start[1]
        last = begins[token.end[0] - 1] + token.end[1]
        if token.type in _STRINGS:
            shown[first:last] = _MARKS.sub(_blank, text[first:last])
        elif before == "def" and token.string.startswith("test_"):
            shown[first:last] = token.string.replace("_", " ")
        before = token.string
    return "".join(shown)


def _c_prose(text: str) -> str:
    shown = [each if each.isspace() else "\0" for each in text]
    for token in _LIKE_C.finditer(text):
        words = re.sub(r"^[ \t]*(?:/?\*+|//)", _blank, token[0], flags=re.MULTILINE)
        shown[slice(*token.span())] = re.sub(r"^[\"'`]|[\"'`]$", " ", words)
    return "".join(shown)


def _blank(found: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", found[0])


def texts(root: Path = ROOT) -> Iterator[tuple[str, str]]:
    """Path and content of each text file that Git tracks; without Git, of each in no hidden folder."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        names = done.stdout.split("\0")[:-1]
    else:
        files = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
        names = [str(path) for path in files if not any(part.startswith((".", "__")) for part in path.parts)]
    for name in sorted(names):
        if Path(name).suffix not in NOT_TEXT and (root / name).is_file():
            yield name, (root / name).read_text("utf-8")


def main(arguments: list[str]) -> int:
    """Returns the exit code: 1 if there is a banned turn."""
    words = WordList.load()
    found = [each for path, text in texts() for each in words.objections(path, text)]
    if "--count" in arguments:
        counts = Counter(each.turn.name for each in found)
        for name, count in counts.most_common():
            print(f"{count:5} {name}")
        print(f"{len(found):5} in {len({each.path for each in found})} files")
    else:
        for each in found:
            print(each)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
