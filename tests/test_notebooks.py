"""The notebooks run from top to bottom, and hold no output."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT

jupytext = pytest.importorskip("jupytext", reason="needs the extra [notebooks]")
nbclient = pytest.importorskip("nbclient", reason="needs the extra [notebooks]")

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))


def test_there_is_a_story() -> None:
    assert NOTEBOOKS


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_executed_without_an_error(path: Path) -> None:
    notebook = jupytext.read(path)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": ROOT}}).execute()
    shown = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    assert any("image/svg+xml" in one.get("data", {}) for outputs in shown for one in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_pair_holds_the_same_cells_and_no_output(path: Path) -> None:
    pair = jupytext.read(path.with_suffix(".ipynb"))
    assert [cell.source for cell in pair.cells] == [c.source for c in jupytext.read(path).cells], (
        f"run jupytext --to ipynb notebooks/{path.name}"
    )
    assert not any(cell.get("outputs") for cell in pair.cells)
