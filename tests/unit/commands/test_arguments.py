"""Options have one spelling: root's command looks for the same options that the command accepts."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

import pytest
from device.bundle import build, publish_latest
from device.install import steps
from device.update import command

from appliance import cli
from appliance.commands import update_hooks
from tests.machine import ROOT

Main = Callable[[Sequence[str]], object]


@pytest.mark.parametrize(
    ("main", "words"),
    [
        (cli.main, ["backup", "b", "--passphrase-f=words"]),
        (cli.main, ["check", "--data-d=/"]),
        (cli.main, ["sessions", "list", "--data-d=/"]),
        (cli.main, ["access", "list", "--data-d=/"]),
        (update_hooks.main, ["note", "--version=1", "--wanted=1", "--outcome=updated", "--reas=x"]),
        (command.main, ["rollback", "--no"]),
        (steps.main, ["--chec"]),
        (lambda words: build.main(list(words), ROOT), ["--arc=x86_64"]),
        (lambda words: publish_latest.main(list(words), ROOT), ["bundle", "--day=1"]),
    ],
)
def test_no_option_may_be_abbreviated(
    main: Main, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    told = capsys.readouterr().err
    assert end.value.code == 2 and told.count("\n") == 1
    assert f"unrecognized arguments: {words[-1]}" in told


def test_there_is_one_parser_on_each_side() -> None:
    files = [*(ROOT / "appliance").rglob("*.py"), *(ROOT / "provisioning").rglob("*.py")]
    makers = {
        file.relative_to(ROOT).as_posix()
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, (ast.Call, ast.ClassDef))
        for each in ([node.func] if isinstance(node, ast.Call) else node.bases)
        if ast.unparse(each).endswith("ArgumentParser")
    }
    assert makers == {"appliance/commands/arguments.py", "provisioning/device/arguments.py"}
