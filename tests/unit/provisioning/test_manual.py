"""The manual page and the completions of a release."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from device.layout import Layout
from device.system.release_files import all_files, install, remove_all

from tests.machine import ROOT

COMMANDS = ("run", "analyze", "evaluate", "check", "config", "bench", "sessions", "backup", "token", "audit")
PLACED = {
    "usr/local/share/man/man1/interview-grader.1",
    "usr/local/share/bash-completion/completions/interview-grader",
    "usr/local/share/zsh/site-functions/_interview-grader",
    "usr/local/share/fish/vendor_completions.d/interview-grader.fish",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `make man` writes."""
    folder = tmp_path_factory.mktemp("manual") / "made"
    command = [sys.executable, str(ROOT / "provisioning/device/bundle/manual.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.skipif(not shutil.which("man"), reason="no man")
def test_the_page_renders_without_a_warning(made: Path) -> None:
    command = ["man", "--warnings", "--local-file", "--encoding=UTF-8", str(made / "interview-grader.1")]
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "80", "MAN_KEEP_FORMATTING": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    name = " ".join(done.stdout.split("NAME\n")[1].split("\n\n")[0].split())
    assert name == "interview-grader - read facial expressions on this device and show them on a live page"
    for command_name in COMMANDS:
        assert f"interview-grader {command_name}" in done.stdout


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("ana", {"analyze"}),
        ("analyze --js", {"--jsonl"}),
        ("sessions s", {"salvage", "show"}),
        ("token create x --role m", {"metrics"}),
    ],
)
def test_bash_completes(made: Path, typed: str, offered: set[str]) -> None:
    words = ["interview-grader", *typed.split()]
    program = """
        source "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE=$*; COMP_POINT=${#COMP_LINE}
        set -- $(complete -p interview-grader)
        while [ "$1" != -F ]; do shift; done
        "$2" interview-grader "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    command = ["bash", "--norc", "-c", program, "bash", str(made / "interview-grader.bash"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stderr, {line.strip() for line in done.stdout.splitlines()}) == ("", offered)


@pytest.mark.parametrize("name", ["interview-grader.bash", "_interview-grader", "interview-grader.fish"])
def test_every_shell_knows_every_command(made: Path, name: str) -> None:
    text = (made / name).read_text()
    assert [command for command in COMMANDS if command not in text] == []
    shell = {"_interview-grader": "zsh", "interview-grader.fish": "fish"}.get(name, "bash")
    if shutil.which(shell):
        subprocess.run([shell, "-n", made / name], check=True)


def test_they_are_installed_and_removed_with_a_release(made: Path, tmp_path: Path) -> None:
    release, layout = tmp_path / "release", Layout(tmp_path / "root")
    for name in ("systemd", "provisioning"):
        shutil.copytree(ROOT / name, release / name, ignore=shutil.ignore_patterns("__pycache__", "manual"))
    layout.opt.mkdir(parents=True)

    def installed() -> set[str]:
        share = layout.root / "usr/local/share"
        return {str(path.relative_to(layout.root)) for path in share.rglob("*") if path.is_file()}

    install(layout, all_files(layout, "pc", release))
    assert installed() == set(), "a release made without the tools has none"
    shutil.copytree(made, release / "provisioning/manual")
    install(layout, all_files(layout, "pc", release))
    assert installed() == PLACED
    shutil.rmtree(release / "provisioning/manual")
    install(layout, all_files(layout, "pc", release))
    assert installed() == set(), "as after a rollback"
    shutil.copytree(made, release / "provisioning/manual")
    install(layout, all_files(layout, "pc", release))
    remove_all(layout)
    assert installed() == set()


def test_the_recovery_unit_may_write_wherever_a_release_installs_a_file(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    unit = (ROOT / "systemd/interview-grader-recover.service").read_text()
    lines = [line.partition("=")[2] for line in unit.splitlines() if line.startswith("ReadWritePaths=")]
    allowed = [tmp_path / path.lstrip("-/") for path in " ".join(lines).split()]
    written = [file.path for file in all_files(layout, "raspberry-pi", ROOT)]
    assert [path for path in written if not any(path.is_relative_to(each) for each in allowed)] == []
