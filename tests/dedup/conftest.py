"""A small encoder, and photos of which some are near copies of others."""

import numpy as np
import pytest
from shared import written_once

SIDE = 8


@pytest.fixture(scope="session")
def encoder(tmp_path_factory):
    """Path of a saved encoder: the pixels less gray, at unit length."""
    from tensorflow import keras

    from tfembed.layers import UnitNorm

    def write(folder):
        model = keras.Sequential(
            [
                keras.Input((SIDE, SIDE, 3)),
                keras.layers.Rescaling(1 / 127.5, -1),
                keras.layers.Flatten(),
                UnitNorm(),
            ]
        )
        model.save(folder / "pixels.keras")

    return written_once(tmp_path_factory, "dedup-encoder", write) / "pixels.keras"


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A folder: 80 pictures, of five of which there are smaller or brighter copies."""
    from PIL import Image

    def write(folder):
        rng = np.random.default_rng(5)
        (folder / "cat").mkdir()
        for number in range(80):
            small = rng.integers(20, 200, (SIDE, SIDE, 3)).astype(np.uint8)
            image = Image.fromarray(small).resize((64, 64), Image.Resampling.NEAREST)
            place = folder / ("cat" if number % 2 else "dog")
            place.mkdir(exist_ok=True)
            image.save(place / f"{number:02d}.png")
            if number < 5:
                image.resize((32, 32)).save(place / f"{number:02d}-small.png")
            if number < 2:
                brighter = image.point(lambda value: min(255, value + 6))
                brighter.save(folder / "cat" / f"{number:02d}-bright.png")
        (folder / "cat" / "broken.png").write_bytes(b"no picture")

    return written_once(tmp_path_factory, "dedup-photos", write)


@pytest.fixture(scope="session")
def made(tmp_path_factory, encoder, photos):
    """What the command makes of `photos`; not to be changed."""
    from tfembed.dedup import dedup_source

    def write(folder):
        dedup_source(f"folder:{photos}", folder / "out", str(encoder))

    return written_once(tmp_path_factory, "dedup-made", write) / "out"
