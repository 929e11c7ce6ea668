"""The Python in the documentation runs.

A block is run if ``<!-- run -->`` stands before it; ``<!-- run, slow -->`` if it takes long. The
blocks of a page share one namespace, as they do for a reader.
"""

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MARK = re.compile(r"^<!-- run(?P<slow>, slow)? -->$", re.MULTILINE)
BLOCK = re.compile(MARK.pattern + r"\n+```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def _run(page: Path, slow: bool) -> int:
    text = page.read_text()
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) == len(MARK.findall(text)), "a mark is not followed by a block of Python"
    names: dict[str, Any] = {"__name__": "documentation"}
    wanted = [block for block in blocks if slow or not block["slow"]]
    for block in wanted:
        # As many lines as stand above it, so that a traceback names the line of the page.
        above = "\n" * text.count("\n", 0, block.start("code"))
        exec(compile(above + block["code"], str(page), "exec"), names)
    return len(wanted)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_marked_blocks_run(page: Path) -> None:
    _run(page, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_all_marked_blocks_run_in_order(page: Path) -> None:
    _run(page, slow=True)


@pytest.mark.parametrize(("name", "fewest"), [("own_pieces.md", 6), ("own_kernel.md", 2)])
def test_pieces_of_ones_own_are_all_run(name: str, fewest: int) -> None:
    """The pages promise it."""
    text = (ROOT / "docs" / name).read_text()
    assert len(BLOCK.findall(text)) == text.count("```python") >= fewest


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_the_files_that_a_page_names_are_there(page: str) -> None:
    names = set(re.findall(r"`([\w/]+\.(?:py|md))`", (ROOT / page).read_text()))
    assert len(names) > 5
    rooms = [ROOT, *(path for name in ("inference", "models") for path in (ROOT / name).iterdir())]
    found = {
        name
        for name in names
        for room in (*rooms, ROOT / "inference", ROOT / "models", ROOT / "docs")
        if (room / name).exists()
    }
    assert names - found == set()


def test_a_mark_without_a_block_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- run -->\nNothing here.\n")
    with pytest.raises(AssertionError, match="not followed by a block"):
        _run(page, slow=False)


def test_a_block_that_fails_names_its_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- run -->\n```python\na = 1\nassert a == 2\n```\n")
    with pytest.raises(AssertionError) as failure:
        _run(page, slow=False)
    assert failure.traceback[-1].lineno + 1 == 4
