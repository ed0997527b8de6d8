"""The networks that every recipe trains: a backbone and an embedding on top."""

from typing import Any, NamedTuple


class Networks(NamedTuple):
    """What `Recipe.build` returns.

    Attributes:
        model: What `fit` trains.
        encoder: From images to unit embeddings.
        features: From images to the backbone's features and the unit embeddings.
        loss: What `compile` is given as loss; `None` where layers add theirs.
        endpoint: The layer that adds the loss, or `None`.
        scheduled: The loss or layer whose temperature a schedule may set, or `None`.
        backbone: From images to the backbone's features.
    """

    model: Any
    encoder: Any
    features: Any
    loss: Any = None
    endpoint: Any = None
    scheduled: Any = None
    backbone: Any = None


class Encoder(NamedTuple):
    """Symbolic tensors to build a model on.

    Attributes:
        images: The input.
        features: The backbone's features, `(batch, f)`.
        projected: The embedding before it is divided by its length.
        embeddings: The unit embedding, float32.
        backbone: The backbone, from images to features.
    """

    images: Any
    features: Any
    projected: Any
    embeddings: Any
    backbone: Any

    def models(self):
        """Returns the encoder, and the model of features and embeddings."""
        from tensorflow import keras

        return (
            keras.Model(self.images, self.embeddings, name="encoder"),
            keras.Model(self.images, [self.features, self.embeddings]),
        )


def build_encoder(config, image_shape):
    """Builds a backbone, a projection, a batch norm if wanted, and a unit norm.

    Args:
        config: A recipe's config.
        image_shape: `(height, width, channels)`.

    Returns:
        An `Encoder`.
    """
    from tensorflow import keras

    from tfembed.backbones import build_backbone
    from tfembed.layers import UnitNorm
    from tfembed.recipes.fine_tuning import freezes_batch_norm

    replicated = config.strategy == "multi_worker" or _num_replicas() > 1
    images = keras.Input(image_shape, name="images")
    backbone = build_backbone(
        config.backbone,
        image_shape,
        synchronized=replicated,
        seed=config.seed,
        weights=config.weights,
        pool=config.pool,
    )
    if freezes_batch_norm(config):
        freeze_batch_norm(backbone)
    features = backbone(images)
    projected = keras.layers.Dense(
        config.dim,
        use_bias=not config.head_norm,
        kernel_initializer=keras.initializers.GlorotUniform(seed=config.seed),
        name="projection",
    )(features)
    if config.head_norm:
        projected = keras.layers.BatchNormalization(
            center=False,
            scale=False,
            name="head_norm",
            **({"synchronized": True} if replicated else {}),
        )(projected)
    embeddings = UnitNorm(name="unit_norm", dtype="float32")(projected)
    return Encoder(images, features, projected, embeddings, backbone)


def freeze_batch_norm(model):
    """Makes a model's batch norms constants: they train nothing and infer always."""
    from tensorflow import keras

    for layer in model.layers:
        if isinstance(layer, keras.Model):
            freeze_batch_norm(layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def _num_replicas():
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync
