"""How models/ is built: what may import what, no circle, no file that is too long to read.

Found by parsing: whatever is imported under a function or a condition counts too.
"""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = "explainaway.models"
FOLDER = Path(__file__).parents[2] / "models"
MOST_LINES = 480

MAY_IMPORT: dict[str, set[str]] = {
    "arguments": set(),
    "pieces": set(),
    "networks": {"arguments"},
    "distributions": {"arguments"},
    "operators": {"arguments", "pieces"},
    "priors": {"arguments", "pieces", "distributions"},
    "observations": {"arguments", "pieces", "distributions", "operators"},
    "data_checks": {"arguments", "pieces", "distributions", "observations"},
    "generator_model": {"pieces", "data_checks", "networks", "observations", "priors"},
    "factor_analysis": {"generator_model", "networks", "observations", "priors"},
    "dynamics": {"arguments", "pieces", "generator_model", "distributions", "priors"},
}
"""Rooms, from the ground up: the files and folders of models/, each with those it may import."""


def _modules() -> dict[str, Path]:
    """Return every file by the name of its module within the package; "" is the package."""
    names = {}
    for path in sorted(FOLDER.rglob("*.py")):
        parts = path.relative_to(FOLDER).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


MODULES = _modules()


def _imported(name: str) -> Iterator[str]:
    """Yield the absolute names of what a module imports."""
    path = MODULES[name]
    package = [*PACKAGE.split("."), *filter(None, name.split("."))]
    if path.name != "__init__.py":
        package.pop()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                # A name of a package may be a module of it.
                inner = f"{module}.{alias.name}".removeprefix(f"{PACKAGE}.")
                yield f"{module}.{alias.name}" if inner in MODULES else module


def _within(name: str) -> set[str]:
    """Return the modules of models/ that a module imports."""
    inside = {imported for imported in _imported(name) if imported.startswith(PACKAGE)}
    return {imported.removeprefix(PACKAGE).removeprefix(".") for imported in inside}


def _room(module: str) -> str:
    return module.split(".")[0]


def test_models_import_nothing_else_of_the_library() -> None:
    outside = {
        (name, imported)
        for name in MODULES
        for imported in _imported(name)
        if imported.split(".")[0] == "explainaway" and not imported.startswith(PACKAGE)
    }
    assert outside == set()


def test_imports_inside_the_package_are_relative() -> None:
    absolute = {
        (name, node.module)
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        if not node.level and (node.module or "").startswith("explainaway")
    }
    assert absolute == set()


def test_every_room_has_its_line_here() -> None:
    assert {_room(name) for name in MODULES if name} == set(MAY_IMPORT)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    others = {
        (name, imported)
        for name in MODULES
        if _room(name) == room
        for imported in _within(name)
        if _room(imported) not in {room, *MAY_IMPORT[room]}
    }
    assert others == set()


def test_rooms_stand_on_each_other() -> None:
    assert set(TopologicalSorter(MAY_IMPORT).static_order()) == set(MAY_IMPORT)


def test_no_module_imports_itself_through_others() -> None:
    """Nor does a room's module import the room: a table of contents imports what it lists."""
    imports = {name: _within(name) for name in MODULES}
    assert set(TopologicalSorter(imports).static_order()) == set(MODULES)


def test_no_file_is_too_long_to_read() -> None:
    lines = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert {name: length for name, length in lines.items() if length > MOST_LINES} == {}


def test_no_public_name_hides_a_module() -> None:
    """``models.dynamics.texture`` is a file, ``models.dynamics.dynamic_texture`` a function."""
    hidden = set()
    for name, path in MODULES.items():
        if path.name != "__init__.py":
            continue
        prefix = f"{name}." if name else ""
        listed = {
            alias.asname or alias.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and node.module
            for alias in node.names
        }
        hidden |= {prefix + one for one in listed if prefix + one in MODULES}
    assert hidden == set()
