"""docs/losses.md says what the docstrings say, and names every loss."""

import pathlib

from shared import loaded

from tfembed import layers, losses

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"


def writer():
    return loaded("docs/write_losses.py")


def test_the_page_is_up_to_date():
    written = (DOCS / "losses.md").read_text(encoding="utf-8")
    assert written == writer().page(), "run python docs/write_losses.py"


def test_every_loss_and_its_layers_are_on_the_page():
    text = (DOCS / "losses.md").read_text(encoding="utf-8")
    names = [name for name in losses.__all__ if isinstance(getattr(losses, name), type)]
    for name in names:
        assert f"| `{name}` |" in text
    for name in writer().ENDPOINTS:
        assert hasattr(layers, name) and f"`layers.{name}`" in text
