"""How a backbone with given weights goes on learning: its rates, and from when.

The optimizer is that of the recipe; the backbone's weights get a multiple of its rate.
While the backbone is frozen the multiple is 0: nothing is compiled anew, and a run
that is resumed goes on exactly.
"""

GIVEN_RATE = 0.1  # of a backbone with given weights, as a multiple


def backbone_rate(config):
    """Returns the multiple of the learning rate that the backbone's last layer has."""
    if config.backbone_rate is not None:
        return config.backbone_rate
    return 1.0 if config.weights is None else GIVEN_RATE


def freezes_batch_norm(config):
    """Tells whether the backbone's batch norms stay as they are."""
    if config.frozen_batch_norm is not None:
        return config.frozen_batch_norm
    return config.weights is not None


def with_backbone_rates(optimizer, config, backbone, steps):
    """Returns the optimizer with the backbone's rates.

    Args:
        optimizer: The recipe's, not yet built.
        config: The recipe's config.
        backbone: The backbone, as a `keras.Model`.
        steps: Steps of an epoch.

    Raises:
        ValueError: If rates are asked for and the optimizer takes none.
    """
    rate, decay = backbone_rate(config), config.layer_decay
    if rate == decay == 1 and not config.freeze_epochs:
        return optimizer
    if config.optimizer in ("lamb", "sgdw"):
        raise ValueError(
            "--backbone-rate, --layer-decay and --freeze-epochs go with Keras' "
            f"optimizers. Received: --optimizer {config.optimizer}. Take sgd, adam or "
            "adamw, or --backbone-rate 1."
        )
    from tfembed.training import with_groups

    depths = list(by_depth(backbone))
    groups = [
        (
            weights,
            rate * decay ** (len(depths) - 1 - depth),
            config.freeze_epochs * steps,
        )
        for depth, weights in enumerate(depths)
    ]
    return with_groups(optimizer, groups)


def by_depth(backbone):
    """Yields the trained weights of each layer with a kernel, from the images on.

    Norms and scales belong to the kernel before them. The power of a pooling layer is
    new with the head, and is left out.
    """
    group = []
    for layer in _layers(backbone):
        if type(layer).__name__ == "GeneralizedMean":
            continue
        weights = list(layer.trainable_weights)
        if group and any(len(weight.shape) > 1 for weight in weights):
            yield group
            group = []
        group += weights
    if group:
        yield group


def _layers(model):
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _layers(layer)
        else:
            yield layer
