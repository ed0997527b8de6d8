"""Writes docs/tutorial.ipynb from tutorial.md, by jupytext.

python docs/write_tutorial.py

Fenced blocks of Python become cells, those of bash cells of `%%bash`; all else is text.
The notebook holds no outputs.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
KERNEL = """\
---
jupyter:
  kernelspec:
    display_name: Python 3
    language: python
    name: python3
---

"""


def notebook(text):
    """Returns the notebook that a page in Markdown is, as the text of its file."""
    import jupytext
    import nbformat

    made = jupytext.reads(KERNEL + text, fmt="md")
    made.metadata = {"kernelspec": made.metadata["kernelspec"]}
    for number, cell in enumerate(made.cells):
        cell["id"] = f"cell-{number}"  # a random one otherwise
        cell["metadata"] = {}
    return nbformat.writes(made) + "\n"


def main():
    """Writes the notebook."""
    text = notebook((HERE / "tutorial.md").read_text(encoding="utf-8"))
    (HERE / "tutorial.ipynb").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
