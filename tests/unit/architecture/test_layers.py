"""The rules of docs/architecture.md: which package may import which, and which file alone knows a library.

The contracts about packages are in pyproject.toml; libraries are in the two tables below.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from copy import deepcopy
from graphlib import TopologicalSorter

import grimp
import importlinter.api
import pytest
from importlinter import Contract
from importlinter.contracts.acyclic_siblings import AcyclicSiblingsContract
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.independence import IndependenceContract
from importlinter.contracts.layers import LayersContract
from importlinter.contracts.protected import ProtectedContract

from tests import structure
from tests.machine import ROOT

IN_ONE_FILE = {
    "PIL": "media",
    "ai_edge_litert": "inference",
    "argon2": "auth",
    "cryptography": "auth records",
    "cuda": "inference",
    "gi": "cameras",
    "gpiozero": "hardware",
    "itsdangerous": "auth",
    "Jetson": "hardware",
    "libcamera": "cameras",
    "markdown_it": "web",
    "markupsafe": "web",
    "pi_heif": "media",
    "picamera2": "cameras",
    "prometheus_client": "web",
    "reportlab": "records",
    "segno": "web",
    "tensorrt": "inference",
    "tflite_runtime": "inference",
    "tomli": "system",
    "tomli_w": "system",
    "tomllib": "system",
    "websockets": "commands web",
}
"""Library -> the packages in which one file each imports it: it can be replaced there, and be absent."""

IN_MANY = {
    "av": "media",
    "cv2": "cameras commands composition consent media sinks vision",
    "flask": "web",
    "h11": "web",
    "jinja2": "commands web",
    "numpy": "*",
    "pydantic": "*",
    "simplejpeg": "media",
    "sqlite3": "records",
    "systemd": "system",
    "tqdm": "cli commands",
    "werkzeug": "web",
}
"""Library -> the packages whose files may import it."""

MOST_AT_THE_ROOT = 20
KINDS: dict[str, type[Contract]] = {
    each.type_name: each
    for each in (
        AcyclicSiblingsContract,
        ForbiddenContract,
        IndependenceContract,
        LayersContract,
        ProtectedContract,
    )
}
OPTIONS = importlinter.api.read_configuration(str(ROOT / "pyproject.toml"))
CONTRACTS = {options["id"]: options for options in OPTIONS["contracts_options"]}
GRAPH = structure.import_graph()
MODULES = sorted(GRAPH.find_descendants("appliance") | {"appliance"})


def with_import(importer: str, imported: str) -> grimp.ImportGraph:
    """The graph of the code, and one import more."""
    graph = deepcopy(GRAPH)
    structure.add_import(graph, importer, imported, line=1)
    return graph


def breaches(id: str, graph: grimp.ImportGraph) -> str:
    """How the graph breaks a contract, in import-linter's words; "" when it keeps it."""
    options = CONTRACTS[id]
    contract = KINDS[options["type"]](options["name"], OPTIONS["session_options"], options)
    check = contract.check(deepcopy(graph), verbose=False)
    return "" if check.kept else f"{options['name']}: {check.metadata}"


def strangers(graph: grimp.ImportGraph) -> list[str]:
    """Each import of a library where it does not belong, or that neither table has."""
    importers: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for module in sorted(graph.find_descendants("appliance")):
        for library in graph.find_modules_directly_imported_by(module):
            if library in IN_ONE_FILE | IN_MANY or not _is_ours_or_standard(library):
                importers[library, module.split(".")[1]].append(module)
    found = []
    for (library, room), modules in importers.items():
        allowed = (IN_ONE_FILE.get(library) or IN_MANY.get(library, "nothing: add it to a table")).split()
        if room not in allowed and allowed != ["*"]:
            found.append(f"{', '.join(modules)}: {library} belongs to {' '.join(allowed)}")
        elif library in IN_ONE_FILE and len(modules) > 1:
            found.append(f"{', '.join(modules)}: {library} belongs in one file")
    return found


def _is_ours_or_standard(name: str) -> bool:
    return name.split(".", maxsplit=1)[0] in {"appliance", *sys.stdlib_module_names}


@pytest.mark.parametrize("id", CONTRACTS)
def test_the_code_keeps_the_contract(id: str) -> None:
    assert breaches(id, GRAPH) == ""


def test_libraries_are_known_and_imported_where_they_belong() -> None:
    assert strangers(GRAPH) == []


def test_no_module_imports_itself_through_others() -> None:
    imports = {module: GRAPH.find_modules_directly_imported_by(module) for module in MODULES}
    TopologicalSorter(imports).prepare()  # raises CycleError, with the cycle


def test_the_root_holds_few_modules() -> None:
    at_root = {path.name for path in (ROOT / "appliance").glob("*.py")} - {"__init__.py"}
    assert len(at_root) <= MOST_AT_THE_ROOT, sorted(at_root)


def test_every_module_has_a_docstring() -> None:
    trees = {module: ast.parse(structure.source(module).read_text("utf-8")) for module in MODULES}
    assert [module for module, tree in trees.items() if not ast.get_docstring(tree)] == []


BREACHES = {
    "layers": [
        ("appliance.values", "appliance.health"),
        ("appliance.health", "appliance.viewers"),
        ("appliance.consent", "appliance.records"),
        ("appliance.daemon", "appliance.commands"),
        ("appliance.surprise", "appliance.values"),
    ],
    "cycles": [("appliance.media", "appliance.cameras.replay")],
    "composition": [("appliance.on_update", "appliance.composition")],
    "configuration": [("appliance.web", "appliance.configuration")],
    "web": [
        ("appliance.records", "appliance.web"),
        ("appliance.cli", "appliance.web"),
    ],
    "cameras": [
        ("appliance.composition", "appliance.cameras.usb"),
        ("appliance.cameras.csi", "appliance.cameras.usb"),
        ("appliance.cameras.csi", "appliance.cameras.rotated"),
    ],
    "engines": [("appliance.composition", "appliance.inference.engines.tflite")],
    "parts": [("appliance.sinks", "appliance.cameras.rotation")],
    "pure": [
        ("appliance.vision.motion", "threading"),
        ("appliance.vision.motion", "appliance.health"),
        ("appliance.pipeline", "cv2"),
        ("appliance.pipeline", "appliance.system"),
    ],
}


@pytest.mark.parametrize(
    ("id", "importer", "imported"), [(id, *pair) for id, pairs in BREACHES.items() for pair in pairs]
)
def test_a_breach_of_a_contract_is_found(id: str, importer: str, imported: str) -> None:
    assert importer in breaches(id, with_import(importer, imported))


def test_each_contract_is_shown_to_find_a_breach() -> None:
    assert BREACHES.keys() == CONTRACTS.keys()


@pytest.mark.parametrize(
    ("importer", "library"),
    [
        ("web.app", "segno"),
        ("daemon", "systemd"),
        ("cli", "torch"),
        ("consent", "sqlite3"),
        ("media", "PIL"),
    ],
)
def test_a_library_in_the_wrong_place_is_found(importer: str, library: str) -> None:
    assert any(library in line for line in strangers(with_import(f"appliance.{importer}", library)))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("import_module('systemd.daemon')", ["systemd.daemon"]),
        ("def f():\n    importlib.import_module('gi')", ["gi"]),
        ("import_module(f'gpiozero.pins.{name}')", ["gpiozero.pins"]),
        ("import_module(f'{name}.interpreter')", []),
        ("load(name)", []),
    ],
)
def test_a_dynamic_import_is_seen(text: str, names: list[str]) -> None:
    assert [name for _, name in structure.dynamic_imports(text)] == names


def test_the_picture_of_the_packages_is_up_to_date() -> None:
    page = structure.PAGE.read_text("utf-8")
    assert page == structure.with_drawing(page, structure.drawing(GRAPH)), "run: make structure"
