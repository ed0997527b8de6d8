"""Initial weights that depend on a seed alone."""

import numpy as np

__all__ = ["seed_kernels"]


def seed_kernels(model, seed):
    """Draws every kernel of a model anew, each from a seed of its own.

    Layers draw their first weights from Keras' global generator, so what one gets
    depends on all that were built before it. This draws again with the layer's own
    initializer, and in the order of the layers, whoever wrote them. Everything else
    (biases, scales, statistics) starts at a constant and stays.

    Args:
        model: A built `keras.Model`.
        seed: Integer.
    """
    layers = list(_layers(model))
    seeds = np.random.SeedSequence([seed, 3]).generate_state(len(layers))
    seeds = seeds >> 1  # Keras takes 31 bits
    for layer, layer_seed in zip(layers, seeds):
        kernel = getattr(layer, "depthwise_kernel", getattr(layer, "kernel", None))
        if kernel is None:
            continue
        own = getattr(layer, "depthwise_initializer", None) or layer.kernel_initializer
        config = dict(own.get_config(), seed=int(layer_seed))
        initializer = type(own).from_config(config)
        kernel.assign(initializer(kernel.shape, dtype="float32"))


def _layers(model):
    """Yields a model's layers, those of the models inside in their place."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _layers(layer)
        else:
            yield layer
