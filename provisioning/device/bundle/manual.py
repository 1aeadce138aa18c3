"""Writes the manual page and the completions for bash, zsh and fish. Runs where bundles are made.

usage: manual.py [FOLDER], with a Python that has the appliance and its extra `manual`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
PLACE = "provisioning/manual"
"""Where the installer finds them in a release."""

PAGE = "interview-grader.1"
SCRIPTS = {"bash": "interview-grader.bash", "zsh": "_interview-grader", "fish": "interview-grader.fish"}


def make(into: Path) -> None:
    """Write all of them into a folder, which is created if needed; raises `ImportError` without the extra."""
    import shtab
    from argparse_manpage.manpage import Manpage

    from appliance import __version__
    from appliance.cli import make_parser
    from appliance.commands.arguments import PROGRAM

    parser = make_parser()
    about = {
        "project_name": PROGRAM,
        "version": __version__,
        "description": "read facial expressions on this device and show them on a live page",
        "manual_title": "Interview Grader",
    }
    into.mkdir(parents=True, exist_ok=True)
    (into / PAGE).write_text(str(Manpage(parser, about)), encoding="utf-8")
    _complete_files(parser, shtab.FILE)
    for shell, name in SCRIPTS.items():
        (into / name).write_text(shtab.complete(parser, shell), encoding="utf-8")


def _complete_files(parser: argparse.ArgumentParser, file: object) -> None:
    """Complete arguments of type `Path` as file names."""
    for action in parser._actions:
        if action.type is Path:
            action.complete = file  # type: ignore[attr-defined]
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                _complete_files(each, file)


if __name__ == "__main__":
    sys.path[0] = str(CHECKOUT)  # import the appliance of this checkout, not the modules of this folder
    make(Path(sys.argv[1]) if sys.argv[1:] else CHECKOUT / PLACE)
