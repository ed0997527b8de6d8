"""Instance discrimination: every training image a class of its own.

An encoder is trained to tell each image from all others, by a memory bank of their
embeddings (Wu et al., 2018, https://arxiv.org/abs/1805.01978). No label is used;
where there are some, they measure what was learned.

Without any flag: 20,000 images of Fashion-MNIST, 12 epochs, a few minutes on a CPU.
"""

import dataclasses
from typing import Optional, Union

from tfembed.recipes import config as configs
from tfembed.recipes.config import option

OBJECTIVES = ("full", "nce", "infonce", "parametric")


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of a run; every field is a flag."""

    dataset: str = option(
        "fashion_mnist",
        "fashion_mnist, mnist, cifar10, cifar100, folder:PATH, npz:PATH, tfds:NAME "
        "or synthetic",
    )
    data_dir: Optional[str] = option(None, "where the data set is, or is put")
    limit: Optional[int] = option(
        20000, "train on the first so many images; none for all"
    )
    test_limit: Optional[int] = option(None, "evaluate on so many test images")
    holdout: int = option(
        0, "evaluate on so many left-out training images, not on test images"
    )
    image_size: Optional[int] = option(None, "height and width; none for the source's")
    strict: bool = option(False, "stop at an image that does not decode")

    objective: str = option(
        "full",
        "full: softmax over all images. nce, infonce: against sampled images. "
        "parametric: the paper's baseline with trained weights",
        OBJECTIVES,
    )
    num_negatives: int = option(4096, "negatives of nce and infonce")
    negatives: str = option(
        "shared", "drawn once a batch, or per anchor", ("shared", "per_anchor")
    )
    normalizer: Union[float, str] = option(
        "moving_average",
        "how NCE knows Z: moving_average, first_batch, analytic, or a number",
    )
    temperature: float = option(0.1, "divides the similarities")
    momentum: float = option(0.5, "share of the old row in a bank update")
    proximal: float = option(0.0, "weight of the proximal term")
    bank_init: str = option(
        "forward",
        "first rows of the bank: from a forward pass over the images, random unit "
        "vectors, or the paper's code's uniform numbers",
        ("forward", "unit", "paper"),
    )

    backbone: str = option(
        "small_conv", "small_conv, resnet18_cifar, keras_cv:NAME, ..."
    )
    dim: int = option(128, "length of an embedding")
    head_norm: bool = option(
        True, "batch normalisation without scale and centre before the unit norm"
    )

    optimizer: str = option(
        "sgd",
        "sgd as in the paper; lamb and sgdw need tensorflow-addons",
        ("sgd", "adam", "adamw", "lamb", "sgdw"),
    )
    learning_rate: float = option(0.03, "the first learning rate")
    sgd_momentum: float = option(0.9, "momentum of sgd and sgdw")
    weight_decay: float = option(0.0, "weight decay")
    schedule: str = option(
        "cosine", "of the learning rate", ("constant", "cosine", "step")
    )
    warmup_epochs: int = option(0, "epochs of linear warm-up")
    precision: str = option(
        "float32", "Keras policy", ("float32", "mixed_float16", "mixed_bfloat16")
    )
    batch_size: int = option(64, "images in a step, over all replicas")
    epochs: int = option(12, "passes over the images")
    seed: int = option(0, "of everything random")
    replicas: Optional[int] = option(
        None, "GPUs to use, or logical CPU devices; none for all GPUs or one CPU"
    )
    strategy: str = option(
        "mirrored",
        "mirrored, or multi_worker as TF_CONFIG says",
        ("mirrored", "multi_worker"),
    )

    crop_min: float = option(0.5, "smallest area of a random crop, 1 for no crop")
    brightness: float = option(0.3, "strength of the jitter, 0 for none")
    contrast: float = option(0.4, "strength of the jitter, 0 for none")
    saturation: float = option(0.4, "strength of the jitter; colour images only")
    hue: float = option(0.4, "strength of the jitter; colour images only")
    grayscale: float = option(0.2, "probability; colour images only")
    flip: float = option(0.0, "probability of a horizontal flip")

    knn_temperature: float = option(0.07, "temperature of the neighbours' vote")
    knn_every: int = option(1, "evaluate after so many epochs")
    linear_probe: bool = option(True, "train linear classifiers at the end")

    def __post_init__(self):
        configs.check_choices(self)
        configs.check_range(
            self,
            ["num_negatives", "dim", "batch_size", "epochs", "knn_every", "replicas"],
            1,
        )
        configs.check_range(
            self,
            ["temperature", "knn_temperature", "learning_rate", "crop_min"],
            0,
            open_low=True,
        )
        configs.check_range(
            self, ["proximal", "weight_decay", "holdout", "warmup_epochs"], 0
        )
        configs.check_range(self, ["limit", "test_limit", "image_size"], 1)
        configs.check_range(
            self, ["crop_min", "brightness", "contrast", "saturation"], 0, 1
        )
        configs.check_range(self, ["grayscale", "flip"], 0, 1)
        configs.check_range(self, ["hue"], 0, 0.5)
        if not 0 <= self.momentum < 1:
            raise ValueError(
                "`momentum` must be at least 0 and below 1. "
                f"Received: momentum={self.momentum}."
            )


def build(config, image_shape, size):
    """Builds the networks of a run.

    Args:
        config: A `Config`.
        image_shape: `(height, width, channels)`.
        size: Number of training images.

    Returns:
        The model that `fit` trains, from a dictionary of `images` and `ids`; its
        encoder, from images to unit embeddings; and the model of the backbone's
        features and embeddings together.
    """
    from tensorflow import keras

    from tfembed.backbones import build_backbone
    from tfembed.layers import UnitNorm

    replicated = config.strategy == "multi_worker" or _num_replicas() > 1
    images = keras.Input(image_shape, name="images")
    backbone = build_backbone(
        config.backbone, image_shape, synchronized=replicated, seed=config.seed
    )
    features = backbone(images)
    embeddings = keras.layers.Dense(
        config.dim,
        use_bias=not config.head_norm,
        kernel_initializer=keras.initializers.GlorotUniform(seed=config.seed),
        name="projection",
    )(features)
    if config.head_norm:
        embeddings = keras.layers.BatchNormalization(
            center=False,
            scale=False,
            name="head_norm",
            **({"synchronized": True} if replicated else {}),
        )(embeddings)
    embeddings = UnitNorm(name="unit_norm", dtype="float32")(embeddings)
    encoder = keras.Model(images, embeddings, name="encoder")
    ids = keras.Input((), dtype="int64", name="ids")
    endpoint = build_endpoint(config, size)
    model = keras.Model(
        {"images": images, "ids": ids}, endpoint([embeddings, ids]), name="instdisc"
    )
    return model, encoder, keras.Model(images, [features, embeddings])


def build_endpoint(config, size):
    """Builds the endpoint layer of the config's objective, named `endpoint`."""
    from tfembed.layers import (
        InstanceSoftmax,
        NoiseContrastive,
        ParametricInstanceSoftmax,
    )

    if config.objective == "parametric":
        return ParametricInstanceSoftmax(
            size, temperature=config.temperature, name="endpoint"
        )
    bank = {
        "size": size,
        "temperature": config.temperature,
        "momentum": config.momentum,
        "proximal": config.proximal,
        "initializer": "paper" if config.bank_init == "paper" else "unit",
        "seed": config.seed,
        "name": "endpoint",
    }
    if config.objective == "full":
        return InstanceSoftmax(**bank)
    return NoiseContrastive(
        num_negatives=config.num_negatives,
        negatives=config.negatives,
        normalizer=config.normalizer,
        objective=config.objective,
        **bank,
    )


def fill_bank(bank, encoder, batches, strategy):
    """Fills a memory bank from a forward pass over the images.

    In training mode, on clean images in shuffled order: batch normalisation uses
    the batches' statistics, and its moving averages are warm afterwards.

    Args:
        bank: The `MemoryBank`.
        encoder: The encoder.
        batches: Dataset of dictionaries of `images` and `ids`.
        strategy: The run's `tf.distribute.Strategy`.
    """
    import tensorflow as tf

    def step(batch):
        embeddings = encoder(batch["images"], training=True)
        bank.write(embeddings, batch["ids"], momentum=0.0)

    @tf.function(reduce_retracing=True)
    def distributed_step(batch):
        strategy.run(step, args=(batch,))

    for batch in strategy.experimental_distribute_dataset(batches):
        distributed_step(batch)


def main(argv=None):
    """Runs the recipe; returns its `result.json` as a dictionary."""
    config, run_dir = configs.parse(Config, "instdisc", __doc__, argv)
    from tfembed.recipes import training

    return training.main(
        config, run_dir, recipe="instdisc", build=build, prepare=_prepare
    )


def _prepare(config, networks, data, strategy):
    """Fills the bank before the first epoch."""
    if config.objective == "parametric" or config.bank_init != "forward":
        return
    model, encoder, _ = networks
    replicas = strategy.num_replicas_in_sync
    batches = data.train.batches(250 // replicas * replicas, config.seed)
    fill_bank(model.get_layer("endpoint").bank, encoder, batches, strategy)


def _num_replicas():
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


if __name__ == "__main__":
    # Under its own name, so that a config file's `Config` is this one.
    from tfembed.recipes.instdisc import main

    main()
