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
        model: A built `keras.Model` of layers without layers inside.
        seed: Integer.
    """
    seeds = np.random.SeedSequence([seed, 3]).generate_state(len(model.layers))
    seeds = seeds >> 1  # Keras takes 31 bits
    for layer, layer_seed in zip(model.layers, seeds):
        if hasattr(layer, "kernel"):
            config = dict(layer.kernel_initializer.get_config(), seed=int(layer_seed))
            initializer = type(layer.kernel_initializer).from_config(config)
            layer.kernel.assign(initializer(layer.kernel.shape, dtype="float32"))
