"""Benchmarks are scripts: loaded by path, with their folder on the path."""

import importlib
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def folder():
    return FOLDER


@pytest.fixture
def script(monkeypatch):
    """Loads a benchmark by name, apart from modules of the same name."""

    def load(name):
        monkeypatch.syspath_prepend(str(FOLDER))
        monkeypatch.delitem(sys.modules, name, raising=False)
        module = importlib.import_module(name)
        monkeypatch.delitem(sys.modules, name)
        return module

    return load


@pytest.fixture
def table(capsys):
    """Reads the one Markdown table that was printed, as a list of dictionaries."""

    def read(text=None):
        text = capsys.readouterr().out if text is None else text
        lines = [line for line in text.splitlines() if line.startswith("|")]
        rows = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
        assert set("".join(rows[1])) == {"-"}, text
        assert len({len(row) for row in rows}) == 1, text
        return [dict(zip(rows[0], row)) for row in rows[2:]]

    return read
