"""Starts a run from the weights of another one's encoder."""

import os


def check_source(path):
    """Returns the file of a finished run's encoder, or of one saved alone.

    Raises:
        ValueError: If it is not there.
    """
    path = os.path.expanduser(path)
    file = os.path.join(path, "model.keras") if os.path.isdir(path) else path
    if not os.path.isfile(file) or not file.endswith(".keras"):
        raise ValueError(
            "--init must be a finished run, or a file .keras of its encoder. Received: "
            f"--init {path}, "
            + ("which has no model.keras." if file != path else "which is not one.")
        )
    return file


def start_from(encoder, path):
    """Gives an encoder the weights of another, layer by layer.

    Args:
        encoder: The `keras.Model` that is to be trained.
        path: As in `check_source`.

    Raises:
        ValueError: If the two are not of the same layers.
    """
    import tfembed

    file = check_source(path)
    try:
        other = tfembed.load_model(file, compile=False)
    except Exception as error:  # Keras raises what its reader comes upon
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"--init must be an encoder that this Keras can load. Received: {file!r}, "
            f"of which it says: {lines[0]}"
        ) from error
    ours, theirs = _layers(encoder), _layers(other)
    for mine, other in zip(ours, theirs):
        if _kind(mine) != _kind(other):
            raise ValueError(
                "--init must be a run of the same --backbone, --dim and --head-norm, "
                f"on images of as many channels. Received: --init {path}, with "
                f"{_kind(other)} where this run has {_kind(mine)}."
            )
    if len(ours) != len(theirs):
        raise ValueError(
            "--init must be a run of the same --backbone, --dim and --head-norm. "
            f"Received: --init {path}, of {len(theirs)} layers with weights where this "
            f"run has {len(ours)}."
        )
    for mine, other in zip(ours, theirs):
        mine.set_weights(other.get_weights())


def _layers(model):
    """The layers that have weights and no layers inside."""
    return [
        layer
        for layer in model._flatten_layers()
        if layer.weights and not list(layer._flatten_layers(include_self=False))
    ]


def _kind(layer):
    shapes = ", ".join(str(tuple(weight.shape)) for weight in layer.weights)
    name = type(layer).__name__
    if "BatchNormalization" in name:  # the synchronized one has a name of its own
        name = "BatchNormalization"
    return f"a {name} of {shapes}"
