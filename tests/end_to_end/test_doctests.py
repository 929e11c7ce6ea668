import doctest
import importlib
import pkgutil

import pytest

import explainaway

MODULES = [
    module.name
    for module in pkgutil.walk_packages(explainaway.__path__, "explainaway.")
    if not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    counts = [
        len(test.examples)
        for name in MODULES
        for test in finder.find(importlib.import_module(name))
    ]
    assert sum(counts) > 5
