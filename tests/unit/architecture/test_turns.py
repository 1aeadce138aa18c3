"""Plain English: no text of the project has a turn that `tests/turns.toml` bans."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.turns import Allowance, Turn, WordList, texts

WORDS = WordList.load()

SAMPLES = {
    "a.md": "Some text.\n\nA turn that `code`\n> goes\n> on here.\n",
    "a.py": '"""Nothing."""\n\ndef work(whom):\n    """Does it.\n\n    And then it goes\n    on.\n    """\n',
    "b.py": "def test_it_goes_on_for_a_while():\n    goes = on\n",
    "c.py": 'raise ValueError(\n    f"{name} goes "\n    f"on"\n)\n',
    "d.py": "x = 1  # it goes\n# on\n",
    "e.py": 'x = "first\\ngoes on"\n',
    "program": "#!/usr/bin/env python3\nx = 1  # it goes on\n",
    "a.js": "let on;\n/* It goes\n * on. */\n",
    "b.js": "let on;\n// It goes\n// on.\n",
    "c.js": "f(`it goes on`);\n",
    "a.css": "a { color: red }\n/* It goes on. */\n",
    "a.html": "<p>It <b>is</b> so: it goes\n  on.</p>\n",
    "a.sh": "say 'It goes on.'\n",
    "a.service": "# It goes\n# on.\n[Unit]\n",
    "a.toml": 'text = """\nIt goes\non."""\n',
}
"""By file name: texts with one turn."""


@pytest.fixture(scope="module")
def project() -> dict[str, str]:
    return dict(texts())


def turn(name: str) -> Turn:
    return next(each for each in WORDS.turns if each.name == name)


def test_no_text_of_the_project_has_a_banned_turn(project: dict[str, str]) -> None:
    found = [str(each) for path, text in project.items() for each in WORDS.objections(path, text)]
    assert found == [], f"{len(found)} turns; .venv/bin/python -m tests.turns lists them"


def test_all_kinds_of_texts_are_read(project: dict[str, str]) -> None:
    expected = {
        "README.md",
        "Makefile",
        "setup.sh",
        "appliance/consent/notices/en.toml",
        "appliance/web/static/live.js",
        "appliance/web/templates/page.html",
        "docs/privacy.md",
        "provisioning/push",
        "systemd/interview-grader.service",
        "tests/turns.py",
    }
    assert expected <= project.keys()


@pytest.mark.parametrize("path", SAMPLES)
def test_a_turn_is_found_in_every_kind_of_file(path: str) -> None:
    text = SAMPLES[path]
    (found,) = WordList([turn("goes on")]).objections(path, text)
    assert found.text == "goes on"
    assert str(found).startswith(f"{path}:") and str(found).endswith("write continues")
    assert "goes" in text.split("\n")[found.line - 1]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.py", "def goes(on): return goes, nobody, whom, beside\n"),
        ("b.py", "def go_on(): pass\n"),
        ("c.py", 'x = f("goes", "on")\n'),
        ("a.js", "const nobody = people.length === 0;\n"),
        ("a.md", "It goes\n\non\n"),
        ("b.md", "See `systemd-takes-back` and anewer."),
    ],
)
def test_code_and_empty_lines_separate(path: str, text: str) -> None:
    assert WORDS.objections(path, text) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nobody", "Nobody looks."),
        ("whoever", "Whoever comes"),
        ("whom", "the one whom it follows"),
        ("by itself", "It starts by itself. They start by themselves."),
        ("is told", "A mistake is told in one line."),
        ("is told", "Faults are never told."),
        ("be had", "It cannot be had."),
        ("take back", "It takes everything back."),
        ("take back", "The update was taken back."),
        ("at work", "The service is at work."),
        ("stands", "The reason stands in the log."),
        ("lies", "The file lies there, others lie elsewhere."),
        ("goes on", "Live went on, and goes on."),
        ("says so", "The log says so."),
        ("is there", "The camera is not there."),
        ("is there", "What was there before."),
        ("is said", "It is said once."),
        ("one's own", "Models of one's own."),
        ("comes along", "No key comes along."),
        ("has its say", "The owner has their say."),
        ("is no one's", "The rest is no one's."),
        ("than is needed", "more than is needed"),
        ("at its end", "The package is at its end."),
        ("is meant", "The folder is meant."),
        ("is asked", "The daemon is asked."),
        ("whole", "Whole devices are booted, the whole of it."),
        ("beside", "It runs beside the service, beside what it has."),
    ],
)
def test_a_turn_is_found_as_it_is_written(name: str, text: str) -> None:
    assert {each.turn.name for each in WORDS.objections("a.md", text)} == {name}


@pytest.mark.parametrize(
    "text",
    [
        "It stands in for a camera; the stand-in stands still. Leave it as it stands.",
        "The value lies between 0 and 1.",
        "The label goes on the lid. It goes on to the next.",
        "Is there a camera? Are there any?",
        "pip is told to use no index. They cannot be told apart.",
        "A whole number; the whole picture.",
        "A newcomer beside a tracked face.",
        "A meaning, an ask, a saying. By its end. At the end.",
    ],
)
def test_plain_english_is_not_objected_to(text: str) -> None:
    assert WORDS.objections("a.md", text) == []


def test_a_turn_may_stay_where_it_is_allowed() -> None:
    allowed = Allowance("docs/*.md", "anew", "theirs", "a quotation")
    words = WordList([turn("anew"), turn("whom")], [allowed])
    assert words.objections("docs/a.md", "anew in theirs") == []
    assert words.objections("docs/a.md", "anew\nin theirs")
    assert words.objections("docs/a.md", "whom, in theirs")
    assert words.objections("README.md", "anew in theirs")


def test_every_allowance_is_needed_and_has_a_reason(project: dict[str, str]) -> None:
    found = [each for path, text in project.items() for each in WORDS.find(path, text)]
    for allowance in WORDS.allowed:
        assert allowance.why
        assert any(map(allowance.covers, found)), f"not needed any more: {allowance}"


def test_files_are_found_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in ("a.md", "docs/b.md", ".venv/c.py", "docs/d.jpg", "docs/__pycache__/e.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    assert dict(texts(tmp_path)) == {"a.md": "a.md", "docs/b.md": "docs/b.md"}
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "a.md"], cwd=tmp_path, check=True)
    assert dict(texts(tmp_path)) == {"a.md": "a.md"}
