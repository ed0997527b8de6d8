"""Invariant and spreading instance features: two views of each image, one network.

The two augmented views of an image are drawn together and all images of a batch
apart; no memory bank, no label (Ye et al., 2019, https://arxiv.org/abs/1904.03436).
Where there are labels, they measure what was learned.

Without any flag: 20,000 images of Fashion-MNIST, 12 epochs, some minutes on a CPU.
"""

import dataclasses

from tfembed.recipes import config as configs
from tfembed.recipes.command import run_recipe
from tfembed.recipes.config import option
from tfembed.recipes.networks import Networks, build_encoder
from tfembed.recipes.recipe import Recipe
from tfembed.recipes.settings import Settings


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Settings of a run; every field is a flag."""

    form: str = option(
        "code",
        "of the loss: as in the official code, or as printed in the paper, a sum over "
        "the batch that needs a smaller learning rate",
        ("code", "paper"),
    )
    temperature: float = option(0.1, "divides the similarities")
    negative_weight: float = option(
        1.0, "weight of the other images, at least 1; of the code's form"
    )
    negative_share: float = option(
        1.0, "share of the other images that a row is spread from, most similar first"
    )

    def __post_init__(self):
        super().__post_init__()
        configs.check_range(self, ["temperature"], 0, open_low=True)
        configs.check_range(self, ["negative_weight"], 1)
        configs.check_range(self, ["negative_share"], 0, 1, open_low=True)
        if self.batch_size < 2:
            raise ValueError(
                "`batch_size` must be at least 2: an image is spread from the others. "
                f"Received: batch_size={self.batch_size}."
            )


class InvariantSpreading(Recipe):
    """Two views of each image, against those of the other images of the batch."""

    name = "invaspread"
    Config = Config
    views = 2

    def build(self, config, data):
        """Builds the networks: the loss stands on the embeddings alone."""
        from tensorflow import keras

        from tfembed.losses import InvariantSpread

        built = build_encoder(config, tuple(data.image_shape))
        encoder, features = built.models()
        loss = InvariantSpread(
            temperature=config.temperature,
            form=config.form,
            negative_weight=config.negative_weight,
            negative_share=config.negative_share,
        )
        model = keras.Model(built.images, built.embeddings, name="invaspread")
        return Networks(model, encoder, features, loss=loss, backbone=built.backbone)

    def batches(self, run, first_epoch, last_epoch):
        """Batches of two views an image, and the image's place in the batch.

        The loss finds partners by equal number.
        """
        import tensorflow as tf

        def example(batch):
            rows = tf.shape(batch["ids"])[0]
            return batch["images"], tf.tile(tf.range(rows // self.views), [self.views])

        return super().batches(run, first_epoch, last_epoch).map(example)


def main(argv=None):
    """Runs the recipe; returns its `result.json` as a dictionary."""
    return run_recipe(InvariantSpreading(), argv)


if __name__ == "__main__":
    # Under its own name, so that a config file's `Config` is this one.
    from tfembed.recipes.invaspread import main

    main()
