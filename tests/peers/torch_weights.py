"""Weights drawn from a seed, alike wherever they are drawn."""

import numpy as np


def draw_state(shapes, seed):
    """Draws a state_dict: convolutions that keep the scale, batch norms that do much.

    Args:
        shapes: `{PyTorch's name: shape}`.
        seed: Integer.

    Returns:
        `{name: float32 array}`, in the order of the names.
    """
    state = {}
    rng = np.random.default_rng(seed)
    for name in sorted(shapes):
        shape = tuple(shapes[name])
        if name.endswith("num_batches_tracked"):
            value = np.array(7, np.int64)
        elif len(shape) == 4:
            fan_in = shape[1] * shape[2] * shape[3]
            value = rng.standard_normal(shape) * np.sqrt(2 / fan_in)
        elif name.endswith("running_var"):
            value = 0.5 + rng.random(shape)
        elif name.endswith("weight") and len(shape) == 1:
            value = 0.3 + 0.4 * rng.random(shape)
        else:
            value = 0.1 * rng.standard_normal(shape)
        state[name] = value if value.dtype == np.int64 else value.astype(np.float32)
    return state


def draw_images(seed, shape=(2, 64, 48, 3)):
    """Draws images of whole numbers, 0..255."""
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.float32)
