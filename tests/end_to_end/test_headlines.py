"""The table of results is what the committed rows say, and the gallery's links lead somewhere."""

import re

import pytest

from examples.common import headlines
from examples.common.folders import ROOT
from examples.common.headlines import BEGIN, END, PAGES, table
from examples.common.seeds import over_seeds


@pytest.mark.parametrize("name", PAGES)
def test_the_table_is_made_of_the_rows(name: str) -> None:
    """Else: `python -m examples.common.headlines`."""
    assert f"{BEGIN}\n\n{table()}\n\n{END}" in (ROOT / name).read_text()


@pytest.mark.parametrize("name", [*PAGES, "docs/experiments.md"])
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    links = re.findall(r"\]\(([^)]+)\)", page.read_text())
    assert len(links) > 10
    for link in links:
        target, _, anchor = link.partition("#")
        if target.startswith("http"):
            continue
        path = page if not target else page.parent / target
        assert path.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            anchors = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings]
            assert anchor in anchors, link


def test_every_example_is_in_the_gallery() -> None:
    gallery = (ROOT / "examples" / "README.md").read_text()
    for script in (ROOT / "examples").glob("*.py"):
        assert f"python examples/{script.name}" in gallery


def test_rows_of_a_setting_are_averaged_over_seeds() -> None:
    rows = [
        {"settings": {"d": 2, "seed": 0}, "methods": {"a": {"mae": 1.0}, "b": {"mae": 5.0}}},
        {"settings": {"d": 3, "seed": 0}, "methods": {"a": {"mae": 7.0}}},
        {"settings": {"d": 2, "seed": 1}, "methods": {"a": {"mae": 3.0, "crps": 9.0}}},
    ]
    assert over_seeds(rows) == [
        {"settings": {"d": 2, "seed": 0}, "seeds": 2, "methods": {"a": {"mae": 2.0}}},
        {"settings": {"d": 3, "seed": 0}, "seeds": 1, "methods": {"a": {"mae": 7.0}}},
    ]


def test_methods_of_fewer_seeds_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    def row(method: str, seeds: int) -> dict[str, object]:
        settings = {"table": "iris", "gaps": "random", "method": method}
        return {"settings": settings, "seeds": seeds, "scores": {"crps": 1.0}}

    rows = [row("generator", 3), row("mice pmm", 3), row("mice rf", 1)]
    monkeypatch.setattr(headlines, "_rows", lambda name: rows)
    assert headlines._by_table("random") == [
        {"methods": {"generator": {"crps": 1.0}, "mice pmm": {"crps": 1.0}}}
    ]
