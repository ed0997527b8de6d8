"""Runs of recipes that take seconds."""

from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]


def arguments(run_dir, settings, **more):
    """Returns the words of a command line."""
    words = ["--run-dir", str(run_dir)]
    for name, value in {**settings, **more}.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", str(value)]
    return words


def run_quietly(recipe, run_dir, settings, **more):
    """Runs a recipe in this process; returns its result.

    Without the classifier that takes as long again, unless the settings ask for it.
    """
    if hasattr(recipe.Config, "softmax_baseline"):
        settings = {"softmax_baseline": False, **settings}
    return recipe.main(arguments(run_dir, settings, **more))


def write_images(folder, sizes):
    """Writes a PNG of noise for each `(height, width)`: 0.png, 1.png and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number, size in enumerate(sizes):
        pixels = rng.integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
