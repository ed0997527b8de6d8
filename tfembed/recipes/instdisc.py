"""Instance discrimination: every training image a class of its own.

An encoder is trained to tell each image from all others, by a memory bank of their
embeddings (Wu et al., 2018, https://arxiv.org/abs/1805.01978). No label is used;
where there are some, they measure what was learned.

Without any flag: 20,000 images of Fashion-MNIST, 12 epochs, a few minutes on a CPU.
"""

import dataclasses
from typing import Union

from tfembed.recipes import config as configs
from tfembed.recipes.bank import BankSettings, fill_bank
from tfembed.recipes.command import run_recipe
from tfembed.recipes.config import option
from tfembed.recipes.networks import Networks, build_encoder
from tfembed.recipes.recipe import Recipe

OBJECTIVES = ("full", "nce", "infonce", "parametric")


@dataclasses.dataclass(frozen=True)
class Config(BankSettings):
    """Settings of a run; every field is a flag."""

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

    def __post_init__(self):
        super().__post_init__()
        configs.check_range(self, ["num_negatives"], 1)


class InstanceDiscrimination(Recipe):
    """Each image against all others, by a memory bank."""

    name = "instdisc"
    Config = Config

    def build(self, config, data):
        """Builds the networks: the endpoint layer stands on the embeddings."""
        return build(config, tuple(data.image_shape), data.train.size)

    def prepare(self, run):
        """Fills the bank before the first epoch."""
        if run.config.objective != "parametric" and run.config.bank_init == "forward":
            fill_bank(run)

    def callbacks(self, run):
        """Watches the bank, and logs NCE's normaliser and noise posterior."""
        from tfembed.callbacks import BankWatchdog, LogValues

        endpoint = run.networks.endpoint
        callbacks = []
        if hasattr(endpoint, "bank"):
            callbacks.append(BankWatchdog(endpoint))
        if run.config.objective == "nce":
            callbacks.append(
                LogValues(
                    normalizer=lambda: endpoint.normalizer,
                    noise_posterior=lambda: endpoint.noise_posterior,
                )
            )
        return callbacks


def build(config, image_shape, size):
    """Builds the networks of a run.

    Args:
        config: A `Config`.
        image_shape: `(height, width, channels)`.
        size: Number of training images.

    Returns:
        The `Networks`; the model takes a dictionary of `images` and `ids`.
    """
    from tensorflow import keras

    built = build_encoder(config, image_shape)
    encoder, features = built.models()
    ids = keras.Input((), dtype="int64", name="ids")
    endpoint = build_endpoint(config, size)
    model = keras.Model(
        {"images": built.images, "ids": ids},
        endpoint([built.embeddings, ids]),
        name="instdisc",
    )
    return Networks(
        model, encoder, features, endpoint=endpoint, backbone=built.backbone
    )


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
    if config.objective == "full":
        return InstanceSoftmax(size, **config.bank())
    return NoiseContrastive(
        size,
        num_negatives=config.num_negatives,
        negatives=config.negatives,
        normalizer=config.normalizer,
        objective=config.objective,
        **config.bank(),
    )


def main(argv=None):
    """Runs the recipe; returns its `result.json` as a dictionary."""
    return run_recipe(InstanceDiscrimination(), argv)


if __name__ == "__main__":
    # Under its own name, so that a config file's `Config` is this one.
    from tfembed.recipes.instdisc import main

    main()
