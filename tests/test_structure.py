"""How models/ and inference/ are built: what may import what, no circle, no file too long to read.

Found by parsing: whatever is imported under a function or a condition counts too.
"""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST_LINES = 480
MOST_FLOORS = 8

MODELS: dict[str, set[str]] = {
    "turns": set(),
    "arguments": {"turns"},
    "batch_weight": set(),
    "pieces": set(),
    "described": set(),
    "networks": {"arguments", "turns"},
    "distributions": {"arguments"},
    "operators": {"arguments", "pieces"},
    "priors": {"arguments", "batch_weight", "pieces", "distributions"},
    "observations": {"arguments", "batch_weight", "pieces", "distributions", "operators"},
    "data_checks": {"arguments", "pieces", "distributions", "observations"},
    "contexts": {"data_checks", "observations", "pieces"},
    "data_cells": {"data_checks", "distributions", "observations", "pieces"},
    "generator_model": {
        "arguments",
        "contexts",
        "data_cells",
        "data_checks",
        "described",
        "networks",
        "observations",
        "pieces",
        "priors",
        "turns",
    },
    "factor_analysis": {"generator_model", "networks", "observations", "priors"},
    "dynamics": {
        *("arguments", "pieces", "contexts", "generator_model"),
        *("distributions", "priors", "networks"),
    },
}
"""Rooms, from the ground up: the files and folders of models/, each with those it may import."""

INFERENCE: dict[str, set[str]] = {
    "arguments": set(),
    "noise": set(),
    "diagnostics": set(),
    "potentials": {"noise"},
    "kernels": {"arguments", "noise", "potentials"},
    "warmup": {"kernels"},
    "speed": {"potentials"},
    "predictive": {"arguments", "potentials"},
    "judged": {"diagnostics", "potentials"},
    "binding": {"potentials", "speed"},
    "relative_adam": set(),
    "runs": {
        "arguments",
        "diagnostics",
        "kernels",
        "noise",
        "potentials",
        "relative_adam",
        "speed",
        "warmup",
    },
    "exported": {"arguments", "diagnostics", "potentials", "predictive", "runs"},
    "saved": {"diagnostics", "kernels", "potentials", "runs", "speed"},
    "posterior": {
        "arguments",
        "diagnostics",
        "exported",
        "judged",
        "kernels",
        "potentials",
        "predictive",
        "runs",
        "saved",
    },
    "sampling": {
        "arguments",
        "binding",
        "kernels",
        "posterior",
        "potentials",
        "runs",
        "speed",
    },
    "alternating": {"arguments", "kernels", "potentials", "runs", "speed"},
    "comparison": {"runs"},
    "pyro_kernel": {"binding", "kernels", "noise", "potentials", "speed", "warmup"},
}
"""The same of inference/."""

HOUSES = {"models": MODELS, "inference": INFERENCE}


class House:
    """A package: its modules by their names within it ("" is the package itself)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.package = f"explainaway.{name}"
        self.rooms = HOUSES[name]
        self.modules: dict[str, Path] = {}
        for path in sorted((ROOT / name).rglob("*.py")):
            parts = path.relative_to(ROOT / name).with_suffix("").parts
            self.modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path

    def imported(self, name: str) -> Iterator[str]:
        """Yield the absolute names of what a module imports."""
        path = self.modules[name]
        package = [*self.package.split("."), *filter(None, name.split("."))]
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
                    inner = f"{module}.{alias.name}".removeprefix(f"{self.package}.")
                    yield f"{module}.{alias.name}" if inner in self.modules else module

    def within(self, name: str) -> set[str]:
        """Return the modules of this house that a module imports."""
        inside = {i for i in self.imported(name) if i.startswith(self.package)}
        return {i.removeprefix(self.package).removeprefix(".") for i in inside}


@pytest.fixture(params=HOUSES)
def house(request: pytest.FixtureRequest) -> House:
    return House(request.param)


def _room(module: str) -> str:
    return module.split(".")[0]


def test_each_imports_nothing_else_of_the_library(house: House) -> None:
    """Neither knows the other, nor the package around both."""
    outside = {
        (name, imported)
        for name in house.modules
        for imported in house.imported(name)
        if imported.split(".")[0] == "explainaway" and not imported.startswith(house.package)
    }
    assert outside == set()


def test_imports_inside_the_package_are_relative(house: House) -> None:
    absolute = {
        (name, node.module)
        for name, path in house.modules.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        if not node.level and (node.module or "").startswith("explainaway")
    }
    assert absolute == set()


def test_every_room_has_its_line_here(house: House) -> None:
    assert {_room(name) for name in house.modules if name} == set(house.rooms)


def test_a_room_imports_only_what_it_may(house: House) -> None:
    others = {
        (name, imported)
        for name in house.modules
        if name
        for imported in house.within(name)
        if _room(imported) not in {_room(name), *house.rooms[_room(name)]}
    }
    assert others == set()


def test_rooms_stand_on_each_other_and_not_too_high(house: House) -> None:
    floors: dict[str, int] = {}
    for room in TopologicalSorter(house.rooms).static_order():
        floors[room] = 1 + max((floors[below] for below in house.rooms[room]), default=0)
    assert set(floors) == set(house.rooms)
    assert max(floors.values()) <= MOST_FLOORS


def test_no_module_imports_itself_through_others(house: House) -> None:
    """Nor does a room's module import the room: a table of contents imports what it lists."""
    imports = {name: house.within(name) for name in house.modules}
    assert set(TopologicalSorter(imports).static_order()) == set(house.modules)


def test_speed_is_known_by_its_door_alone() -> None:
    """How a graph is made is nobody's business outside: all go through speed/__init__.py."""
    house = House("inference")
    inside = {
        (name, imported)
        for name in house.modules
        if _room(name) != "speed"
        for imported in house.within(name)
        if _room(imported) == "speed" and imported != "speed"
    }
    assert inside == set()


def test_no_file_is_too_long_to_read(house: House) -> None:
    lines = {name: len(path.read_text().splitlines()) for name, path in house.modules.items()}
    assert {name: length for name, length in lines.items() if length > MOST_LINES} == {}


def test_no_public_name_hides_a_module(house: House) -> None:
    """``models.dynamics.texture`` is a file, ``models.dynamics.dynamic_texture`` a function."""
    hidden = set()
    for name, path in house.modules.items():
        if path.name != "__init__.py":
            continue
        prefix = f"{name}." if name else ""
        listed = {
            alias.asname or alias.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and node.module
            for alias in node.names
        }
        hidden |= {prefix + one for one in listed if prefix + one in house.modules}
    assert hidden == set()
