"""Draws the packages of the appliance and their imports into docs/architecture.md: `make structure`."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import grimp

from tests.machine import ROOT

PAGE = ROOT / "docs" / "architecture.md"
BEGIN = "<!-- make structure: begin -->"
END = "<!-- make structure: end -->"
SIDE_DOORS = ("__main__", "build", "on_update")
"""Entry points of two lines, left out of the diagram."""


def import_graph() -> grimp.ImportGraph:
    """Every import of the code, also inside functions and through `import_module` with a literal name."""
    graph = grimp.build_graph("appliance", include_external_packages=True, cache_dir=None)
    for module in sorted(graph.find_descendants("appliance")):
        for line, name in dynamic_imports(source(module).read_text("utf-8")):
            add_import(graph, module, name if name in graph.modules else name.split(".")[0], line)
    return graph


def add_import(graph: grimp.ImportGraph, importer: str, imported: str, line: int) -> None:
    """Add an import to a graph, of a module that it may not contain yet."""
    for module in (importer, imported):
        if module not in graph.modules:
            graph.add_module(module, is_squashed=not module.startswith("appliance"))
    graph.add_import(importer=importer, imported=imported, line_number=line, line_contents="")


def source(module: str) -> Path:
    """The file of a module of the appliance."""
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def dynamic_imports(text: str) -> Iterator[tuple[int, str]]:
    """Line and name of each `import_module("name")`; for an f-string, the part before its first brace."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in ("import_module", "__import__"):
            name = node.args[0].values[0] if isinstance(node.args[0], ast.JoinedStr) else node.args[0]
            if isinstance(name, ast.Constant):
                yield node.lineno, str(name.value).rstrip(".")


def rooms_of(graph: grimp.ImportGraph) -> dict[str, set[str]]:
    """Each package or module at the root of the appliance, and its imports among them."""
    imports: defaultdict[str, set[str]] = defaultdict(set)
    for importer in graph.find_descendants("appliance"):
        room = importer.split(".")[1]
        imports[room] |= set()
        for imported in graph.find_modules_directly_imported_by(importer):
            if imported.startswith("appliance."):
                imports[room].add(imported.split(".")[1])
    return {room: imports[room] - {room} for room in sorted(imports) if room not in SIDE_DOORS}


def arrows_of(rooms: dict[str, set[str]]) -> Iterator[tuple[str, str]]:
    """The imports that no longer path implies: the same order with fewer arrows."""

    def below(room: str) -> set[str]:
        return rooms[room].union(*map(below, rooms[room]))

    for room, imported in rooms.items():
        implied = set().union(*map(below, imported))
        for other in sorted(imported - implied):
            yield room, other


def drawing(graph: grimp.ImportGraph) -> str:
    """The diagram and the table, as Markdown."""
    rooms = rooms_of(graph)
    lines = ["```mermaid", "flowchart TD"]
    lines += [f'    {room}["{_name(room)}"]' for room in rooms]
    lines += [f"    {room} --> {other}" for room, other in arrows_of(rooms)]
    lines += ["```", "", "| package or module | imports |", "|---|---|"]
    for room, imported in rooms.items():
        lines.append(f"| `{_name(room)}` | {', '.join(sorted(imported)) or 'none'} |")
    return "\n".join(lines)


def _name(room: str) -> str:
    return f"{room}.py" if source(f"appliance.{room}").stem == room else f"{room}/"


def with_drawing(page: str, drawn: str) -> str:
    """The page, with the text between its two markers replaced."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{drawn}\n\n{END}{after}"


def main() -> None:
    """Write the page."""
    PAGE.write_text(with_drawing(PAGE.read_text("utf-8"), drawing(import_graph())), "utf-8")


if __name__ == "__main__":
    main()
