"""Batch norms over all replicas, for networks whose makers do not offer them."""

from tensorflow import keras

__all__ = ["synchronize"]


def synchronize(model):
    """Returns a copy of a functional model with synchronised batch norms.

    It has the model's weights.
    """
    copy = keras.models.clone_model(model, clone_function=_synchronized)
    copy.set_weights(model.get_weights())
    return copy


def _synchronized(layer):
    config = layer.get_config()
    if isinstance(layer, keras.layers.BatchNormalization):
        config["synchronized"] = True
    return type(layer).from_config(config)
