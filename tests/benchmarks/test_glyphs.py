"""Characters drawn in a font that comes with matplotlib."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def font_file():
    from matplotlib import font_manager

    return font_manager.findfont("DejaVu Sans")


def test_every_character_is_drawn_and_differs(script, font_file):
    glyphs = script("glyphs")
    drawn = glyphs.render(font_file)
    assert set(drawn) == set(glyphs.CHARACTERS)
    assert len({image.tobytes() for image in drawn.values()}) == len(drawn)
    for image in drawn.values():
        assert image.shape == (28, 28) and image.dtype == np.uint8
    ink = {c: np.count_nonzero(drawn[c]) for c in ".iW" if c in drawn}
    assert ink["i"] < ink["W"]
    assert drawn["C"].any(axis=1).sum() > drawn["c"].any(axis=1).sum()  # one size


def test_what_is_no_font_draws_nothing(script, tmp_path):
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    assert script("glyphs").render(tmp_path / "broken.ttf") == {}


def test_arrays_and_picture(script, font_file):
    from pathlib import Path

    glyphs = script("glyphs")
    data = glyphs.collect([Path(font_file)] * 3, faces=2, seed=0)
    assert len(data["images"]) == 2 * len(glyphs.CHARACTERS)
    assert data["images"].shape[1:] == (28, 28, 1)
    assert data["class_names"][data["labels"][0]] in glyphs.CHARACTERS
    assert glyphs.picture(data).size == (40 * 28, 20 * 28)
