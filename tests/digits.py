"""Handwritten digits as a served gallery: real pictures, embedded by their pixels."""

import numpy as np
from tensorflow import keras

from tfembed.export import export

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
SHAPE = (16, 16, 1)
GALLERY, K = 700, 12


def load():
    """Returns digits uint8 `(n, 16, 16, 1)` and their labels."""
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels = (found.images * 255 / 16).round().astype(np.uint8)
    return pixels.repeat(2, 1).repeat(2, 2)[..., None], found.target


def encoder():
    """Returns an encoder that leaves pixels as they are, but for their mean."""
    inputs = keras.Input(SHAPE)
    x = keras.layers.AveragePooling2D(2)(inputs)
    x = keras.layers.Rescaling(1 / 255, offset=-0.3)(x)
    x = keras.layers.Flatten()(x)
    return keras.Model(inputs, keras.layers.UnitNormalization(dtype="float32")(x))


def ids():
    """Returns the gallery's ids; some would do harm on a careless page."""
    names = [f"digits/{row:04d}.png" for row in range(GALLERY)]
    names[1] = "<img src=x onerror=alert(1)>"
    names[2] = "a&b=c#d?e/../%2e 'quoted\" .png"
    return np.array(names)


def metadata():
    """Returns what else is said of each digit, by columns; of the last one nothing."""
    writers = [f"writer {row % 13}" for row in range(GALLERY)]
    notes = [f"<script>alert({row})</script> ספרה" for row in range(GALLERY)]
    notes[::2] = [""] * len(notes[::2])
    writers[-1] = notes[-1] = ""
    more = {
        f"column {number}": ["W" * 100] * 2 + [""] * (GALLERY - 2)
        for number in range(5)
    }
    return {"writer": writers, "note": notes, **more}


def write(folder):
    """Exports a version into `folder/models`, with `folder/thumbnails.npz`.

    Returns:
        The gallery, a dictionary.
    """
    images, labels = load()
    model = encoder()
    floats = images[:GALLERY].astype(np.float32)
    gallery = {
        "embeddings": model.predict(floats, verbose=0),
        "labels": labels[:GALLERY],
        "ids": ids(),
        "class_names": np.array(NAMES),
        "metadata": metadata(),
    }
    export(
        model,
        gallery,
        folder / "models",
        k=K,
        queries={
            "embeddings": model.predict(
                images[GALLERY : GALLERY + 400].astype(np.float32), verbose=0
            ),
            "labels": labels[GALLERY : GALLERY + 400],
        },
        warmup_batches=(),
        report=None,
    )
    np.savez(folder / "thumbnails.npz", images=images[:GALLERY], ids=gallery["ids"])
    return gallery
