"""The table of models in the README, made from `MODELS` and the class docstrings.

python -m tests.models_table --write
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tfrecsession.cli.list_models import _summary
from tfrecsession.models import MODELS

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"(?<=<!-- models -->\n).*?(?=<!-- end of models -->)", re.S)


def table() -> str:
    """Returns the Markdown table: the name for --model, the class with its file, the summary."""
    rows = ["| `--model` | class | |", "| --- | --- | --- |"]
    for name, model in MODELS.items():
        file = f"{model.__module__.replace('.', '/')}.py"
        rows.append(f"| {name} | [{model.__name__}]({file}) | {_summary(model)} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    text = BLOCK.sub(lambda _: table(), README.read_text())
    if "--write" in sys.argv:
        README.write_text(text)
    else:
        sys.exit(text != README.read_text())
