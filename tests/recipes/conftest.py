"""What a user brings: modules that can be imported, packages that are installed."""

import pytest


@pytest.fixture
def importable(tmp_path, monkeypatch):
    """Makes a module of its text; returns its name."""

    def make(kind, text):
        name = f"{kind}_{tmp_path.name}".replace("-", "_")
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))
        return name

    return make


@pytest.fixture
def installed(tmp_path):
    """Leaves a package's metadata beside the modules, as pip does."""

    def make(name, entry_points):
        folder = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(entry_points)

    return make
