"""The file that a saved encoder is in."""

import os

__all__ = ["encoder_path"]


def encoder_path(path):
    """Returns the file of a saved model: itself, or a run directory's `model.keras`.

    Raises:
        ValueError: If there is none.
    """
    inside = os.path.join(path, "model.keras")
    if os.path.isdir(path) and not os.path.isfile(inside):
        unfinished = os.path.isfile(os.path.join(path, "config.json"))
        raise ValueError(
            "`model` must be a saved Keras model or a run directory with one. "
            f"Received: model={path!r}, without model.keras. "
            + (
                "Start its run again: it goes on where it stopped."
                if unfinished
                else "Give the `.keras` file."
            )
        )
    if not os.path.exists(path):
        raise ValueError(
            "`model` must be a saved Keras model (.keras) or a run directory. "
            f"Received: model={path!r}, which does not exist."
        )
    return inside if os.path.isdir(path) else path
