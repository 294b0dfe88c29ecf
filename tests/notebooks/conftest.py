"""Runs notebooks as Jupyter would, on small settings."""

import json
import warnings
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def code_cells(name: str) -> list[dict]:
    cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """`run("04_gru4rec", EPOCHS=1)` executes the notebook's code cells in order, in a temporary folder.

    The arguments replace the values of the cell of parameters. Returns the notebook's names as attributes, and
    `figures`, the number of figures shown."""
    import matplotlib.pyplot as plt

    def shown(*_, **__):
        for number in plt.get_fignums():
            figure = plt.figure(number)
            figure.canvas.draw()  # fails here if the figure cannot be drawn
            for axes in figure.axes:
                labels = (axes.get_title(), axes.get_xlabel(), axes.get_ylabel())
                assert any(labels) or not axes.axison, f"figure {len(figures) + 1} has axes without a title or a label"
            figures.append(figure)
        plt.close("all")

    def run(name: str, **small) -> SimpleNamespace:
        names = {"__name__": "__main__"}
        for number, cell in enumerate(code_cells(name), 1):
            exec(compile("".join(cell["source"]), f"{name}.ipynb, code cell {number}", "exec"), names)
            if number == 1:
                assert small.keys() <= names.keys(), f"no parameters of {name}: {sorted(small.keys() - names.keys())}"
                names.update(small)
        assert not plt.get_fignums(), "a figure is drawn but never shown: end its cell with plt.show()"
        assert figures, f"{name} shows no figure"
        return SimpleNamespace(**names, figures=len(figures))

    figures = []
    backend = matplotlib.get_backend()
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    monkeypatch.setattr(plt, "show", shown)
    with warnings.catch_warnings():
        yield run
    plt.close("all")
    matplotlib.use(backend)
