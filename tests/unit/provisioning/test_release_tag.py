"""What `make release` checks before it builds, and the tag that it makes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from device.bundle import build, tag
from device.errors import BundleError

SECTION = """# Changelog

## [Unreleased]

## [1.2.3] - 2030-05-01

### Added

- A lamp.

## [1.2.2] - 2030-04-01
"""


def git(checkout: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=checkout, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A committed checkout of version 1.2.3, without the settings of this machine's Git."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "Anna")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "anna@example.org")
    made = tmp_path / "checkout"
    (made / "appliance").mkdir(parents=True)
    (made / "appliance" / "__init__.py").write_text('__version__ = "1.2.3"\n')
    (made / "CHANGELOG.md").write_text(SECTION)
    git(made, "init", "--quiet")
    commit(made)
    return made


def commit(checkout: Path) -> None:
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "--message", "a change")


def test_a_release_is_tagged_once_with_an_annotated_tag(checkout: Path) -> None:
    version = tag.check(checkout)
    assert version == "1.2.3" and git(checkout, "tag") == ""
    assert tag.tag(checkout, version) == "v1.2.3"
    assert git(checkout, "cat-file", "-t", "v1.2.3") == "tag"
    assert git(checkout, "tag", "--list", "--format=%(subject)") == "Interview Grader 1.2.3"
    made = git(checkout, "rev-parse", "v1.2.3")
    assert tag.tag(checkout, tag.check(checkout)) == "v1.2.3", "a bundle for another board"
    assert git(checkout, "rev-parse", "v1.2.3") == made


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("[1.2.3]", "[1.2.30]", "no section of version 1.2.3; expected a heading `## [1.2.3] - YYYY-MM-DD`"),
        (" - 2030-05-01", "", "no section of version 1.2.3"),
        ("2030-05-01", "2030-13-01", "version 1.2.3 has the date '2030-13-01'"),
        ("2030-05-01", "soon", "version 1.2.3 has the date 'soon'"),
        ("### Added\n\n- A lamp.\n", "", "the section of version 1.2.3 is empty"),
    ],
)
def test_the_changelog_must_have_the_version(checkout: Path, before: str, after: str, words: str) -> None:
    (checkout / "CHANGELOG.md").write_text(SECTION.replace(before, after, 1))
    commit(checkout)
    with pytest.raises(BundleError) as refused:
        tag.check(checkout)
    assert words in str(refused.value)


def test_a_release_without_a_changelog_is_refused(checkout: Path) -> None:
    (checkout / "CHANGELOG.md").unlink()
    commit(checkout)
    with pytest.raises(BundleError, match="no section of version"):
        tag.check(checkout)


@pytest.mark.parametrize(
    ("names", "words"),
    [(["new"], "^new: not committed"), (["new", "CHANGELOG.md"], "and 1 more: not committed")],
)
def test_everything_must_be_committed(checkout: Path, names: list[str], words: str) -> None:
    for name in names:
        with (checkout / name).open("a") as file:
            file.write("\n")
    with pytest.raises(BundleError, match=words):
        tag.check(checkout)


def test_a_tag_of_another_commit_is_refused(checkout: Path) -> None:
    tag.tag(checkout, "1.2.3")
    first = git(checkout, "rev-parse", "--short=10", "HEAD")
    (checkout / "new").touch()
    commit(checkout)
    with pytest.raises(BundleError, match=rf"v1\.2\.3 is the tag of another commit \({first}\)"):
        tag.check(checkout)


def test_without_git_the_error_names_the_option(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(checkout.parent))
    (checkout / ".git").rename(checkout.parent / "git")
    with pytest.raises(BundleError, match=r"^git status failed .* --no-tag$"):
        tag.check(checkout)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BundleError, match=r"^git is not installed.* --no-tag$"):
        tag.check(checkout)


def test_the_command_checks_before_it_makes_a_key_or_a_bundle(
    checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout / "new").touch()
    assert build.main(["--key", str(tmp_path / "key"), "--out", str(tmp_path / "out")], checkout) == 2
    assert capsys.readouterr().err == "release: new: not committed; commit first, or build with --no-tag\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkout"]
