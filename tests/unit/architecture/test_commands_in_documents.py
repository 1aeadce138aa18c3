"""Every command in the documents fits its parser, and a test runs it or this page gives the reason why not.

A command is a line of a code block, or text in backticks that begins with a program and has more words.
Here they are only parsed: the tests named in `RUN` run them.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
from device.arguments import Parser as DeviceParser
from device.bundle import build, publish_latest
from device.install import card, steps
from device.update import command as update_command

from appliance.cli import make_parser
from tests.machine import ROOT

PAGES = sorted(
    page
    for pattern in (
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "docs/*.md",
        "docs/readers/*.md",
        "models/*.md",
    )
    for page in ROOT.glob(pattern)
)
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
OURS, UPDATE = "interview-grader", "interview-grader-update"

RUN = {
    f"{OURS} --version": ("tests/e2e/daemon/test_commands.py", '"--version"'),
    f"{OURS} run": ("tests/e2e/daemon/driver.py", '"run"'),
    f"{OURS} analyze": ("tests/e2e/daemon/test_commands.py", '"analyze"'),
    f"{OURS} evaluate": ("tests/e2e/daemon/test_evaluate.py", '"evaluate"'),
    f"{OURS} check": ("tests/e2e/daemon/test_own_model.py", '"check"'),
    f"{OURS} status": ("tests/e2e/daemon/test_status.py", '"status"'),
    f"{OURS} config": ("tests/e2e/daemon/test_commands.py", '"config"'),
    f"{OURS} bench": ("tests/e2e/daemon/test_bench.py", "bench"),
    f"{OURS} access list": ("tests/e2e/daemon/test_network.py", '"list"'),
    f"{OURS} access add-viewer": ("tests/e2e/daemon/test_network.py", '"add-viewer"'),
    f"{OURS} access remove": ("tests/e2e/daemon/test_network.py", '"remove"'),
    f"{OURS} access reset": ("tests/e2e/daemon/test_network.py", '"reset"'),
    f"{OURS} token create": ("tests/e2e/daemon/test_network.py", '"create"'),
    f"{OURS} token list": ("tests/e2e/daemon/test_network.py", '"list"'),
    f"{OURS} token revoke": ("tests/e2e/daemon/test_network.py", '"revoke"'),
    f"{OURS} sessions list": ("tests/e2e/daemon/test_records_commands.py", '"list"'),
    f"{OURS} sessions show": ("tests/e2e/daemon/test_records_commands.py", '"show"'),
    f"{OURS} sessions export": ("tests/e2e/daemon/test_records_commands.py", '"export"'),
    f"{OURS} sessions erase": ("tests/e2e/daemon/test_records_commands.py", '"erase"'),
    f"{OURS} sessions salvage": ("tests/e2e/daemon/test_records_commands.py", '"salvage"'),
    f"{OURS} backup": ("tests/e2e/device/test_new_card.py", "docs/operations.md"),
    f"{OURS} restore": ("tests/e2e/device/test_new_card.py", "docs/operations.md"),
    f"{OURS} audit verify": ("tests/e2e/device/test_new_card.py", '"verify"'),
    f"{OURS} audit show": ("tests/e2e/device/test_new_card.py", '"show"'),
    f"{UPDATE} install": ("tests/e2e/device/test_updating.py", UPDATE),
    f"{UPDATE} list": ("tests/e2e/device/test_update.py", '"list"'),
    f"{UPDATE} rollback": ("tests/e2e/device/test_updating.py", '"rollback"'),
    f"{UPDATE} prune": ("tests/e2e/device/test_updating.py", '"prune"'),
    f"{UPDATE} recover": ("tests/e2e/device/test_updating.py", '"recover"'),
    f"{UPDATE} uninstall": ("tests/e2e/device/test_upkeep.py", '"uninstall"'),
    "setup.sh run": ("tests/e2e/device/test_setup.py", '"run"'),
    "setup.sh install": ("tests/e2e/device/test_install.py", "install"),
    "provisioning/card": ("tests/e2e/device/test_first_boot.py", '"card"'),
    "provisioning/push": ("tests/e2e/device/test_update_command.py", "provisioning/push"),
    "sh unpack": ("tests/unit/provisioning/test_unpack.py", "unpack"),
    "sh first-boot": ("tests/e2e/device/test_first_boot.py", "first_boot"),
    "python models/build/compile_edgetpu.py": (
        "tests/e2e/device/test_accelerator_models.py",
        "compile_edgetpu",
    ),
    "python models/build/export_onnx.py": ("tests/e2e/device/test_accelerator_models.py", "export_onnx"),
    "python models/build/fetch_models.py": ("tests/e2e/device/test_model_build.py", "fetch_models"),
    "python -m appliance.configuration.reference": (
        "tests/unit/configuration/test_reference.py",
        "reference_lines",
    ),
    "python -m appliance.web.api_reference": ("tests/unit/web/test_api_reference.py", "reference_lines"),
    "make bundles": ("tests/e2e/device/test_release.py", "JETPACKS"),
    "make minimal": ("tests/e2e/device/test_package.py", "appliance"),
    "make release": ("tests/e2e/device/test_release.py", "provisioning/release"),
    "make latest": ("tests/e2e/device/test_install.py", "latest"),
    "make structure": ("tests/unit/architecture/test_layers.py", "drawing"),
    "install": ("tests/e2e/device/test_new_card.py", "docs/operations.md"),
    "cp": ("tests/e2e/device/test_new_card.py", "docs/operations.md"),
    "systemctl": ("tests/e2e/device/test_install.py", "reset-failed"),
    "journalctl": ("tests/e2e/device/booted.py", "journalctl"),
    "tee": ("tests/e2e/device/test_install.py", "update-from"),
    "ssh-keygen": ("tests/unit/provisioning/test_unpack.py", "docs/operations.md"),
    "tar": ("tests/unit/provisioning/test_unpack.py", "docs/operations.md"),
    "mkdir": ("tests/unit/provisioning/test_unpack.py", "docs/operations.md"),
    "python -m pytest": ("Makefile", "-m pytest"),
}
"""Command -> the file that runs it, and text by which to find it there."""

LISTED = {
    "setup.sh test": "it runs the tests; `.ci/run` is the same",
    "make check": "`./setup.sh test` runs the same script",
    "check.sh": "`make check` runs all of it",
    "python -m tests.turns": "a part of `make check`",
    "make unit": "it runs tests",
    "make test": "it runs tests",
    "make system-vm": "it runs tests, for an hour",
    "make system-arm64": "it runs tests",
    "make wear": "it runs a test, with a longer watch",
    "make watch": "it runs a test, with a longer watch",
    "make system": "it runs tests",
    "make coverage": "it runs tests",
    "make kills": "it runs a test, with more examples",
    "make damage": "it runs tests, with more examples",
    "make explore": "it runs tests, with more examples",
    "make soak": "it takes two hours",
    "make man": "tests/unit/provisioning/test_manual.py makes the same files",
    "make bench": "interview-grader bench",
    "make run": "setup.sh run",
    "make lock": "it asks the package index; test_locks.py checks what it wrote",
    "make docs": "it needs packages of its own; test_documents.py checks links and toctrees",
    "make screenshots": "it changes files in docs/",
    "make models": "it takes hours and 1.5 GB of packages; test_model_build.py runs its last step",
    "python models/build/compare_detectors.py": "a measurement for the developer of models",
    "python models/build/measure_quality.py": "a measurement; test_quality.py checks its results",
    "python -m venv": "Python's own; setup.sh runs it",
    "pip": "it asks the package index; setup.sh installs the same from the locks",
    "git": "the address of the repository is not known here",
    "cd": "part of a line",
    "apt": "it changes the system; the installer's own call of apt-get is tested on booted devices",
    "apt-get": "it changes the system; the installer's own call of apt-get is tested on booted devices",
    "reboot": "booted devices are restarted from outside",
    "ssh": "it needs two computers",
    "curl": "it needs a token and a device; tests/e2e/daemon/test_network.py sends the same request",
    "export": "it sets variables of the shell; tests/e2e/daemon/test_programs_page.py sets the same ones",
    "docker": "no Docker here; tests/e2e/device/test_container.py builds the same file with buildah",
    "cat": "it shows a file",
    "echo": "part of a line",
    "grep": "part of a line",
    "raspi-config": "a tool of Raspberry Pi OS",
}
"""Command -> why no test runs it as the documents have it."""

OUTPUTS = ("interview-grader: ", "Interview Grader is ready: ", "address ", "camera ")
"""How code blocks begin that show output or a drawing."""

FENCE = re.compile(r"^ *```([a-z{}]*)\n(.*?)^ *```$", re.M | re.S)
_PREFIX = re.compile(r"^(sudo |[A-Z_]+=\S+ )+")
PLACEHOLDERS = {"N": "1", "ROLE": "viewer", "SECTION.KEY=VALUE": "web.port=8081"}


MAKERS = {"release": build.main, "latest": publish_latest.main}
"""Targets of the Makefile that hand their ARGS to a parser of ours."""


class Parsed(Exception):
    """The arguments fit: nothing more is to be done."""


def commands_of(page: Path) -> Iterator[tuple[str, bool]]:
    """Each command of a page, and whether it must be complete: text in backticks may name a command only."""
    text = page.read_text("utf-8")
    for language, block in FENCE.findall(text):
        lines = [line.strip() for line in block.splitlines() if line.strip()]
        if not language and not lines[0].startswith(OUTPUTS):
            yield from ((line, True) for line in lines)
    prose = FENCE.sub("", text)
    yield from ((line, True) for line in re.findall(r"^ {4}(\S.*)$", prose, re.M) if _is_command(line))
    for words in re.findall(r"`([^`\n]+)`", prose.replace("\\|", "|")):
        if " " in words and _is_command(words):
            yield words, False


def _is_command(text: str) -> bool:
    first = _PREFIX.sub("", text).split(" ")[0]
    return _program(first) in KNOWN


def _program(word: str) -> str:
    """The name of a program without where it is."""
    name = word.rpartition("/")[2]
    if word.startswith("provisioning/"):
        return word
    return re.sub(r"^python3?(\.\d+)?$", "python", name)


KNOWN = {key.split(" ")[0] for key in (*RUN, *LISTED)} | {"sh", "pytest"}


def simple_commands(line: str) -> Iterator[str]:
    """The commands of a line of shell, without comments, redirections, `sudo` and variables before them."""
    line = re.sub(r"\s+#.*$", "", line)
    for each in re.split(r" && | \| (?![^\[]*\])", line):
        yield _PREFIX.sub("", re.sub(r"\s[<>]{1,2} ?\S+", "", each).strip())


def variants(text: str) -> Iterator[list[str]]:
    """A command without its optional parts, and with each of them; one of each alternative."""
    optional = re.findall(r"\[([^\]]+)\]", text)
    base = re.sub(r"\s*\[[^\]]+\]", "", text)
    for part in ("", *(choice for each in optional for choice in re.split(r"\s*\|\s*", each))):
        first, *others = (f"{base} {part}" if part else base).split("|")
        yield shlex.split(first)
        stem = first.rpartition(" ")[0]
        for other in others:
            yield shlex.split(f"{stem} {other}")


def filled(words: Sequence[str]) -> list[str]:
    """The words with a value for each placeholder that is not text."""
    return [PLACEHOLDERS.get(word, word).rstrip("…").removesuffix("...") for word in words]


def parse(main: Callable[[list[str]], object], words: list[str]) -> None:
    """Let a command parse its words and do nothing; raises `SystemExit` if they do not fit."""

    def stop(self: argparse.ArgumentParser, *given: object) -> None:
        real(self, *given)
        raise Parsed

    real = argparse.ArgumentParser.parse_args
    with mock.patch.object(DeviceParser, "parse_args", stop, create=True), pytest.raises(Parsed):
        main(words)


def check(words: list[str]) -> str:
    """The key of a command in one of the two tables; raises unless it can be typed so."""
    program, rest = _program(words[0]), filled(words[1:])
    if program == OURS:
        if rest == ["--version"]:
            return f"{OURS} --version"
        options = make_parser().parse_args(rest)
        return " ".join(filter(None, (OURS, options.command, getattr(options, "action", ""))))
    if program == UPDATE:
        parse(update_command.main, rest)
        return f"{UPDATE} {rest[0] if rest[0] in update_command.COMMANDS else 'install'}"
    if program == "setup.sh":
        if rest[0] == "run":
            make_parser().parse_args(rest)
        elif rest[0] == "install":
            parse(steps.main, rest[1:])
        assert f"\n  {rest[0]}) " in (ROOT / "setup.sh").read_text("utf-8"), f"setup.sh has no {rest[0]}"
        return f"setup.sh {rest[0]}"
    if program == "make":
        return check_make(rest)
    if program == "python" and rest[0] == "-m":
        check_paths(rest[2:])
        if rest[1].startswith("appliance."):
            assert (ROOT / f"{rest[1].replace('.', '/')}.py").exists(), rest[1]
        return f"python -m {rest[1]}"
    if program == "pytest":
        check_paths(rest)
        return "python -m pytest"
    if program == "python":
        return check_script(rest)
    if program == "sh":
        name = rest[0].rpartition("/")[2]
        assert list((ROOT / "provisioning").glob(f"**/{name}")), f"no {name} in provisioning/"
        return f"sh {name}"
    if program == "docker" and "exec" in rest:
        check(rest[rest.index(OURS) + 1 :])
    if program in ("systemctl", "journalctl"):
        for word in rest:
            if word.startswith(OURS):
                unit = word if "." in word else f"{word}.service"
                found = [*(ROOT / "systemd").glob(unit), *(ROOT / "systemd").glob(f"{word}.timer")]
                assert found, f"no unit {word} in systemd/"
    return program


def check_make(words: list[str]) -> str:
    """A target of the Makefile, with variables that it has."""
    target = words[0]
    assert re.search(rf"^{target}:.*## ", MAKEFILE, re.M), f"no target {target} in the Makefile"
    for name, _, value in (word.partition("=") for word in words[1:]):
        assert f"$({name})" in MAKEFILE or f"ifdef {name}" in MAKEFILE or f"$(if $({name})," in MAKEFILE, name
        if name == "ARGS" and target in MAKERS:
            parse(partial(MAKERS[target], checkout=ROOT), shlex.split(value))
    return f"make {target}"


def check_script(words: list[str]) -> str:
    """A script of ours, with options that it has."""
    script = ROOT / words[0]
    assert script.is_file(), f"no {words[0]}"
    if words[0] == "provisioning/card":
        parse(card.main, words[1:])
        return words[0]
    options = [word for word in words[1:] if word.startswith("--") and word != "--help"]
    assert [word for word in options if f'"{word}"' not in script.read_text("utf-8")] == []
    return f"python {words[0]}"


def check_paths(words: list[str]) -> None:
    """Paths of tests exist."""
    for word in words:
        assert not word.startswith("tests/") or (ROOT / word).exists(), f"no {word}"


def keys_of(page: Path) -> Iterator[str]:
    """The key of each command of a page; fails for one that cannot be typed so."""
    for line, whole in commands_of(page):
        for each in simple_commands(line):
            for words in variants(each):
                yield key_of(words, whole)


def key_of(words: list[str], whole: bool) -> str:
    """The key of one command; text in backticks may also be its bare name, without the arguments it needs."""
    name = " ".join([_program(words[0]), *words[1:]])
    try:
        return check(words)
    except SystemExit as error:
        if not whole and name in RUN:
            return name
        raise AssertionError(f"{name}: does not fit") from error


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_can_be_typed_and_is_accounted_for(page: Path) -> None:
    assert sorted({key for key in keys_of(page) if key not in RUN and key not in LISTED}) == []


def test_every_target_of_the_makefile_is_accounted_for() -> None:
    targets = {f"make {name}" for name in re.findall(r"^([a-z0-9-]+):.*## ", MAKEFILE, re.M)} - {"make help"}
    assert targets - RUN.keys() - LISTED.keys() == set()


@pytest.mark.parametrize("key", RUN)
def test_the_test_that_runs_a_command_exists(key: str) -> None:
    path, text = RUN[key]
    assert text in (ROOT / path).read_text("utf-8")


def test_no_command_is_in_both_tables() -> None:
    assert RUN.keys() & LISTED.keys() == set()


def page_with(tmp_path: Path, text: str) -> Path:
    page = tmp_path / "page.md"
    page.write_text(text, "utf-8")
    return page


@pytest.mark.parametrize(
    "text",
    [
        "`interview-grader sessions lst`",
        "`interview-grader evaluate --htlm FILE`",
        "`interview-grader run --camra usb`",
        "`sudo interview-grader-update rolback VERSION`",
        "`./setup.sh tset now`",
        "`sudo ./setup.sh install --signer FILE`",
        "`make nothing now`",
        '`make release ARGS="--archi aarch64"`',
        "`make soak ARG=1`",
        "`python models/build/compile_edge.py --out x`",
        "`python models/build/compile_edgetpu.py --output x`",
        "`python -m appliance.config.reference > x`",
        "`pytest tests/unit/nowhere`",
        "`sudo systemctl restart interview-grader-lok.timer`",
        "```\ninterview-grader backup\n```\n",
        "```\ninterview-grader token create NAME --role [viewr|operator]\n```\n",
    ],
)
def test_a_command_that_does_not_fit_is_found(tmp_path: Path, text: str) -> None:
    with pytest.raises(AssertionError):
        list(keys_of(page_with(tmp_path, text)))


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("`interview-grader backup`", ["interview-grader backup"]),
        ("```\nsudo make unit && make check  # both\n```\n", ["make unit", "make check"]),
        (
            "`interview-grader audit verify\\|show`",
            [f"interview-grader audit {name}" for name in ("verify", "show")],
        ),
        ("`interview-grader analyze PATH… [--jsonl\\|--csv]`", ["interview-grader analyze"] * 3),
        ("```\necho a | sudo tee /etc/b\n```\n", ["echo", "tee"]),
        ("```toml\nmake = 1\n```\nmake something\n", []),
        ("```\nfrobnicate --now\n```\n", ["frobnicate"]),
    ],
)
def test_commands_are_found(tmp_path: Path, text: str, keys: list[str]) -> None:
    assert list(keys_of(page_with(tmp_path, text))) == keys
