"""The code keeps the layers of docs/architecture.md: who may import whom, and who alone knows which library.

What a new module needs is data at the top of this file: its level, and any library that it alone knows.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.machine import ROOT

PACKAGE = ROOT / "appliance"

# A module imports only modules of lower levels. Names are relative to the package; the first match counts.
LEVELS: list[tuple[int, str]] = [
    (0, "cameras engines vision evaluation media analysis"),
    (
        0,
        "values errors notify palette resources environment signals lawful files journal poweroff terminal "
        "arguments",
    ),
    (
        1,
        "ports handoff health config registry store store.* audit viewers manifest notice toml wire",
    ),
    (1, "media.*"),
    (1, "settings layers pagefile gpio standing diary changes updated ranking agreement derived board"),
    (1, "jetson_gpio background rotation"),
    (0, "scheduling selfcheck"),
    (1, "web.threads"),
    (1, "access access.files access.passwords access.clock access.local_token access.limits access.uses"),
    (2, "access.accounts access.cookies access.tokens access.certificate"),
    (3, "access.gate access.reset"),
    (1, "vision.align vision.assignment vision.tensors vision.tracker vision.quality vision.movement"),
    (1, "vision.history vision.camera_shift vision.view vision.nods vision.body"),
    (1, "vision.pose vision.smoothing vision.pace"),
    (1, "vision.regions vision.suppression vision.choice vision.known vision.agreed vision.cuts"),
    (
        1,
        "sinks.drawing sinks.bank web.connection web.listener web.server web.websocket web.crowd web.tls",
    ),
    (1, "evaluation.figures evaluation.labels evaluation.tables"),
    (2, "evaluation.datasets evaluation.matching"),
    (3, "evaluation.boxes"),
    (6, "evaluation.judging"),
    (7, "evaluation.report evaluation.thumbnails"),
    (8, "evaluation.text"),
    (9, "evaluation.page"),
    (10, "evaluation.command"),
    (2, "vision.blazeface vision.emotion vision.looks vision.follow vision.search"),
    (2, "terms timeline faults"),
    (3, "report report_pdf export"),
    (2, "accelerator probe strain"),
    (2, "engines.coral workers session sinks metrics report_config config_reference"),
    (1, "cameras.* engines.*"),
    (3, "trial aiming"),
    (5, "report_models"),
    (3, "pipeline button sinks.*"),
    (4, "loops web.* web"),
    (4, "build_engine"),
    (5, "build build_web build_session engines_there"),
    (10, "records_command"),
    (2, "analysis.output analysis.unread"),
    (3, "analysis.summary"),
    (6, "analysis.command"),
    (6, "daemon bench bench_vision bench_engines lamps_out gave_up"),
    (7, "bench_report"),
    (10, "access_command on_update"),
    (11, "cli"),
    (12, "__main__"),
]

# Imports within one level, each for its own reason. (Cycles are refused all the same.)
PEERS: list[tuple[str, str]] = [
    ("cameras.* engines.* registry", "ports"),
    ("engines.*", "derived"),
    ("cameras.replay", "media.*"),
    ("media.inputs media.animation media.tally", "media.inputs media.animation media.stills media.video"),
    ("settings cameras.*", "rotation"),
    ("rotation", "ports"),
    ("manifest", "toml"),
    ("config layers", "registry settings layers toml pagefile"),
    ("vision.tracker", "vision.assignment"),
    ("vision.view", "vision.camera_shift"),
    ("vision.nods vision.body vision.movement", "vision.history vision.view vision.nods vision.body"),
    ("bench gave_up", "bench_vision lamps_out"),
    ("build", "build_web build_session"),
    ("report_pdf export", "report report_pdf"),
    ("files poweroff", "errors"),
    ("journal", "terminal"),
    ("settings", "gpio notice"),
    ("vision.choice vision.known", "vision.suppression"),
    ("vision.looks vision.follow vision.search", "vision.blazeface vision.looks vision.follow"),
    ("sinks", "session"),
    ("session", "terms"),
    ("notice pagefile", "toml"),
    ("standing diary changes", "notice audit background"),
    ("web.*", "web.*"),
    ("store store.*", "store.*"),
]

# Backends are reached through the registry only, so that a missing vendor library hurts nobody else.
BACKENDS = "cameras.* engines.* sinks.*"
STATIC_IMPORTS_OF_BACKENDS: list[tuple[str, str]] = [
    ("engines.coral", "engines.tflite"),
    ("sinks.*", "sinks.drawing sinks.bank"),
]

# Who may import a library. Whatever is neither here nor in the standard library nor ours fails the test.
LIBRARIES: dict[str, str] = {
    "numpy": "*",
    "cv2": "vision.* cameras.* sinks.* rotation aiming build bench evaluation.thumbnails",
    "pydantic": "settings config layers config_reference manifest registry build build_engine"
    " rotation cameras.* engines.* sinks.* web.* evaluation.boxes report_models access.files access.accounts"
    " access.tokens",
    "argon2": "access.passwords",
    "cryptography": "access.certificate store.backup",
    "itsdangerous": "access.cookies",
    "tomli": "toml",
    "tomli_w": "toml",
    "segno": "web.links",
    "cheroot": "web.server",
    "flask": "web.*",
    "werkzeug": "web.*",
    "markdown_it": "web.about",
    "markupsafe": "web.about",
    "jinja2": "web.* evaluation.page",
    "websockets": "web.websocket",
    "prometheus_client": "metrics",
    "systemd": "notify journal",
    "sqlite3": "store store.*",
    "reportlab": "report_pdf",
    "picamera2": "cameras.csi",
    "libcamera": "cameras.csi",
    "gi": "cameras.jetson",
    "tensorrt": "engines.tensorrt",
    "cuda": "engines.tensorrt",
    "gpiozero": "gpio",
    "Jetson": "jetson_gpio",
    "colorzero": "sinks.lamps",
    "ai_edge_litert": "engines.tflite engines.coral",
    "tflite_runtime": "engines.tflite engines.coral",
    "av": "media.video",
    "PIL": "media.stills media.animation",
    "pi_heif": "media.stills",
    "tqdm": "analysis.command bench cli evaluation.judging",
}

# The walk of a frame is pure: it runs on any laptop and touches nothing outside its arguments.
PURE = "vision.* vision pipeline"
PURE_LIBRARIES = {"vision.*": {"numpy", "cv2"}, "vision": set(), "pipeline": {"numpy"}}
IMPURE = (
    "asyncio concurrent ctypes fcntl glob http io logging mmap multiprocessing os pathlib queue random select"
    " shutil signal socket socketserver sqlite3 ssl subprocess sys tempfile threading urllib"
)


@dataclass(frozen=True)
class Module:
    """One file of the package and what it imports, at the top or inside a function."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def package(self) -> str:
        """What a relative import starts from."""
        parts = ["appliance", *self.name.split(".")] if self.name else ["appliance"]
        return ".".join(parts if self.path.name == "__init__.py" else parts[:-1])

    def imported(self) -> Iterator[str]:
        """The full dotted name of everything imported, `from x import y` as x.y."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from (f"{self._source(node)}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.Call) and _is_import_module(node.func):
                yield from (str(name.value) for name in node.args[:1] if isinstance(name, ast.Constant))

    def _source(self, node: ast.ImportFrom) -> str:
        if node.level == 0:
            return node.module or ""
        start = self.package.split(".")[: 1 - node.level or None]
        return ".".join([*start, *([node.module] if node.module else [])])


def _is_import_module(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("import_module", "__import__")


def _read(package: Path) -> dict[str, Module]:
    modules = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text(encoding="utf-8")
        modules[name] = Module(name, path, ast.parse(text, str(path)))
    return modules


def _fits(name: str, patterns: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns.split())


def _listed(importer: str, imported: str, pairs: list[tuple[str, str]]) -> bool:
    return any(_fits(importer, left) and _fits(imported, right) for left, right in pairs)


def _level(name: str) -> int | None:
    return next((level for level, patterns in LEVELS if _fits(name, patterns)), None)


def _ours(module: Module, modules: dict[str, Module]) -> set[str]:
    """The modules of the package that this one imports."""
    found = set()
    for full in module.imported():
        if full.split(".")[0] != "appliance":
            continue
        parts = full.split(".")[1:]
        known = [".".join(parts[:n]) for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in modules]
        found.update(known[:1])
    return found - {module.name}


def _foreign(module: Module) -> set[str]:
    """The top names of everything else it imports."""
    return {full.split(".")[0] for full in module.imported()} - {"appliance", "__future__"}


def problems_of(package: Path) -> list[str]:
    """Every place where the code leaves its layers, one line each."""
    modules = _read(package)
    found = []
    for module in modules.values():
        if not module.name:
            continue  # the package itself: the version only
        level = _level(module.name)
        if level is None:
            found.append(f"{module.name}: has no level: add it to LEVELS in {Path(__file__).name}")
            continue
        for other in sorted(_ours(module, modules)):
            found += _problems_between(module.name, level, other)
        for library in sorted(_foreign(module)):
            found += _problems_with_library(module.name, library)
    return [*found, *_cycles(modules)]


def _problems_between(name: str, level: int, other: str) -> Iterator[str]:
    below = _level(other)
    if below is not None and below >= level and not _listed(name, other, PEERS):
        yield f"{name} (level {level}) imports {other} (level {below}): only lower ones, or list it in PEERS"
    if _fits(other, BACKENDS) and not _listed(name, other, STATIC_IMPORTS_OF_BACKENDS):
        yield f"{name} imports the backend {other}: backends are loaded through the registry"


def _problems_with_library(name: str, library: str) -> Iterator[str]:
    is_standard = library in sys.stdlib_module_names or library == "tomllib"
    if library in LIBRARIES:
        if not _fits(name, LIBRARIES[library]):
            yield f"{name} imports {library}, which belongs to {LIBRARIES[library]}"
    elif not is_standard:
        yield f"{name} imports {library}, which is not in LIBRARIES: say there who may"
    if _fits(name, PURE):
        pure = next(names for pattern, names in PURE_LIBRARIES.items() if fnmatchcase(name, pattern))
        if _fits(library, IMPURE) or not (is_standard or library in pure):
            yield f"{name} imports {library}: vision and the pipeline are pure"


def _cycles(modules: dict[str, Module]) -> Iterator[str]:
    try:
        TopologicalSorter({name: _ours(module, modules) for name, module in modules.items()}).prepare()
    except CycleError as error:
        yield f"import cycle: {' -> '.join(error.args[1])}"


MODULES = _read(PACKAGE)


def test_every_import_keeps_the_layers():
    found = problems_of(PACKAGE)
    assert not found, "\n".join(["", *found])


@pytest.mark.parametrize("name", sorted(MODULES), ids=lambda name: name or "appliance")
def test_every_module_says_what_it_is(name):
    module = MODULES[name]
    assert ast.get_docstring(module.tree), f"{module.path}: no docstring"


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (
            {"values.py": "from appliance import build", "build.py": ""},
            "values (level 0) imports build (level 5)",
        ),
        (
            {"values.py": "from .health import x", "health.py": ""},
            "values (level 0) imports health (level 1)",
        ),
        (
            {"health.py": "from appliance.records import x", "store.py": ""},
            "health (level 1) imports store (level 1)",
        ),
        ({"surprise.py": ""}, "surprise: has no level"),
        (
            {"build.py": "import appliance.cameras.usb", "cameras/usb.py": ""},
            "imports the backend cameras.usb",
        ),
        (
            {"cameras/csi.py": "from ..cameras import usb", "cameras/usb.py": ""},
            "cameras.csi imports the backend cameras.usb",
        ),
        ({"web/app.py": "def f():\n    from cheroot import wsgi"}, "web.app imports cheroot"),
        ({"daemon.py": "import_module('systemd.daemon')"}, "daemon imports systemd"),
        ({"cli.py": "import torch"}, "cli imports torch, which is not in LIBRARIES"),
        ({"vision/search.py": "import threading"}, "vision.search imports threading: vision and"),
        ({"pipeline.py": "import cv2"}, "pipeline imports cv2: vision and"),
        (
            {"web/a.py": "from appliance.web import b", "web/b.py": "from appliance.web.a import x"},
            "import cycle: web.",
        ),
    ],
    ids=lambda value: None if isinstance(value, dict) else value.split(":")[0].replace(" ", "-"),
)
def test_a_breach_is_found(tmp_path, files, problem):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert any(problem in line for line in problems_of(tmp_path)), problems_of(tmp_path)


def test_what_is_allowed_is_not_objected_to(tmp_path):
    for name, text in {
        "values.py": "import numpy",
        "health.py": "from appliance.values import Frame",
        "vision/align.py": "import cv2\nfrom appliance import values",
        "engines/tflite.py": "import_module(f'{name}.interpreter')",
        "engines/coral.py": "from appliance.inference.engines.tflite import Tflite",
        "sinks/drawing.py": "import cv2",
        "sinks/stream.py": "from appliance.sinks.drawing import draw",
        "notify.py": "import systemd.daemon",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert problems_of(tmp_path) == []
