"""A backbone that a user's function makes, and checks of any network of a user's."""

from tensorflow import keras

from tfembed.backbones.names import BACKBONES
from tfembed.backbones.scaling import pool

__all__ = ["as_backbone", "own_backbone"]


def own_backbone(name, image_shape, pooling="avg"):
    """Calls a function of a user's, or of another package, for a backbone.

    Args:
        name: `module:function`, or the name that a package offers it by. It is called
            with `image_shape`, and returns a `keras.Model` from images 0..255 to
            features `(batch, f)` or a feature map.
        image_shape: `(height, width, channels)`.
        pooling: How a feature map is pooled.

    Raises:
        ValueError: If it is no such function, or returns something else.
    """
    function = BACKBONES.load(name)
    model = function(image_shape) if callable(function) else function
    if not isinstance(model, keras.Model):
        raise ValueError(
            "--backbone must name a function of (height, width, channels) that returns "
            f"a keras.Model. Received: {name!r}, "
            + ("which returns" if callable(function) else "which is")
            + f" a {type(model).__name__}."
        )
    return as_backbone(model, name, image_shape, pooling, "own_backbone")


def as_backbone(model, described, image_shape, pooling, name):
    """Checks a network of a user's, and pools its feature map.

    Args:
        model: A `keras.Model`.
        described: What it is called in an error.
        image_shape: `(height, width, channels)` that it is to take.
        pooling: `"avg"`, `"max"` or `"gem"`; of features, `"avg"`.
        name: Name of the model that is returned.

    Returns:
        A `keras.Model` from images to features `(batch, f)`.

    Raises:
        ValueError: If it takes or gives something else.
    """
    wanted = (None, *image_shape)
    given = model.input_shape
    fits = isinstance(given, tuple) and len(given) == 4
    fits = fits and all(a in (None, b) for a, b in zip(given[1:], image_shape))
    if not fits or len(model.outputs) != 1 or len(model.output_shape) not in (2, 4):
        raise ValueError(
            f"The model {described!r} must map images {wanted} to features (batch, f) "
            "or a feature map (batch, height, width, f). Received: one from "
            f"{given} to {model.output_shape}. Give --image-size, or take the part "
            "that fits."
        )
    images = keras.Input(image_shape, name="images")
    features = model(images)
    if len(features.shape) == 4:
        features = pool(features, pooling)
    elif pooling != "avg":
        raise ValueError(
            f"`pool` must be 'avg' where the model pools itself. Received: "
            f"pool={pooling!r}, and {described!r}, which gives features (batch, f)."
        )
    return keras.Model(images, features, name=name)
