"""Instance similarity learning: images that are alike become each other's positives.

Rounds of training with a memory bank (Wang et al., 2021,
https://arxiv.org/abs/2108.02721). The first is instance discrimination. Before each
other one a GAN learns to generate proxies of an image's positives, and the images
near them are added to its set of positives. No label is used; where there are some,
they measure what was learned, and how many of the positives are right.

Without any flag: 20,000 images of Fashion-MNIST, 2 rounds of 6 epochs, some minutes
on a CPU.
"""

import dataclasses
from typing import Optional

from tfembed.recipes import config as configs
from tfembed.recipes.bank import BankSettings, fill_bank
from tfembed.recipes.command import run_recipe
from tfembed.recipes.config import option
from tfembed.recipes.networks import Networks, build_encoder
from tfembed.recipes.recipe import Recipe

_CODE = {
    "hard": "most_similar",
    "hard_by": "bank",
    "single": "skip",
    "triplet_positive": "own_row",
    "fakes": "half",
    "generator_loss": "non_saturating",
    "radius_rule": "score",
    "radius": 0.6,
    "proxies": 1,
    "mining_keep": "all",
}
_PAPER = {
    "hard": "least_similar",
    "hard_by": "embedding",
    "single": "own_row",
    "triplet_positive": "set",
    "fakes": "one",
    "generator_loss": "minimax",
    "radius_rule": "euclidean",
    "radius": 0.63,
    "proxies": 5,
    "mining_keep": "all",
}


@dataclasses.dataclass(frozen=True)
class Config(BankSettings):
    """Settings of a run; every field is a flag.

    Attributes:
        PRESETS: What `--preset` sets, of what the paper and its authors' code do in
            different ways: as the paper says, as the code does, or as here by default.
            The paper gives neither its radius nor the number of its proxies. The
            radius is that of the code's rule at a score of one half (a cosine of 0.8,
            a distance of 0.63). The divergence from the hard positive is added in all
            of them: subtracted, as the formula is printed, it drives positives apart
            (`hard_sign`).
    """

    PRESETS = {"paper": _PAPER, "code": _CODE, "tfembed": {}}  # no field

    rounds: int = option(
        2, "rounds of training the encoder; the first has no positives. The paper: 4"
    )
    first_round_epochs: Optional[int] = option(
        None, "epochs of the first round; none for as many as the others"
    )

    set_width: int = option(
        32, "largest number of positives of an image; of more, a random choice"
    )
    hard_weight: float = option(0.5, "weight of hard positive enhancement")
    hard: str = option(
        "least_similar",
        "the hard positive: the least similar member of the set as in the paper, or "
        "the most similar as in its code",
        ("least_similar", "most_similar"),
    )
    hard_by: str = option(
        "bank",
        "what the hard positive is similar to: the image's row of the bank (code), or "
        "its embedding",
        ("bank", "embedding"),
    )
    hard_sign: str = option(
        "plus",
        "the divergence from the hard positive is added (code), or subtracted (the "
        "paper's formula as printed)",
        ("plus", "minus"),
    )
    single: str = option(
        "skip",
        "an image without positives has no hard positive (code), or its own row of "
        "the bank, the memory of its augmented views (paper)",
        ("skip", "own_row"),
    )

    positives: str = option(
        "proxies",
        "how positives are found: near the GAN's proxies, or, to compare with, the "
        "closest pairs of the bank by plain distance, without a GAN",
        ("proxies", "nearest"),
    )
    triplet_positive: str = option(
        "own_row",
        "the positive of the GAN's triplets: the image's own row of the bank (code), "
        "or a random member of its set (paper)",
        ("own_row", "set"),
    )
    alpha: float = option(
        1.0, "draws proxies towards negatives; the paper's weight, 1 in its code"
    )
    fakes: str = option(
        "half",
        "the discriminator's two false triplets weigh together as much as the real "
        "one (code), or each one (paper)",
        ("half", "one"),
    )
    generator_loss: str = option(
        "non_saturating",
        "-log D (code), or log(1 - D) (paper)",
        ("non_saturating", "minimax"),
    )
    candidates: int = option(4096, "rows that a triplet's negative is chosen among")
    gan_batch_size: int = option(
        32, "images in a step of the GAN; the paper: 128, or 256 for ImageNet"
    )
    gan_learning_rate: float = option(1e-4, "of generator and discriminator")
    gan_epochs: int = option(20, "most epochs of the GAN in a round")
    gan_least_epochs: int = option(10, "fewest epochs of the GAN in a round")
    gan_patience: int = option(
        3, "the GAN's training ends when its best loss is this many epochs old"
    )
    gan_ceiling: float = option(
        1.0,
        "the GAN is not trained while the generator's loss is above it (code; 0.69 is "
        "that of a discriminator that cannot tell)",
    )

    score: float = option(
        0.5, "the discriminator's score of a proxy must be above it; 0.3 for ImageNet"
    )
    radius_rule: str = option(
        "score",
        "how near a positive is to the proxy: cosine above radius + (1 - score) * (1 - "
        "radius) (code), or distance below radius (paper)",
        ("score", "euclidean"),
    )
    radius: float = option(0.6, "see --radius-rule; 0.3 for ImageNet")
    neighbors: int = option(10, "rows of the bank that are looked at near a proxy")
    proxies: int = option(
        1, "proxies of an image, of which the one with the best score counts (paper)"
    )
    mining_passes: int = option(10, "most passes over the images in a round")
    mining_target: float = option(
        0.5, "mining ends at this many positives an image, times the number of rounds"
    )
    mining_keep: str = option(
        "best",
        "of a pass that finds more than that: the pairs farthest inside the radius, or "
        "all (code)",
        ("best", "all"),
    )

    def __post_init__(self):
        super().__post_init__()
        counts = ["rounds", "first_round_epochs", "set_width", "candidates"]
        counts += ["gan_batch_size", "gan_epochs", "gan_least_epochs", "gan_patience"]
        counts += ["neighbors", "proxies", "mining_passes"]
        configs.check_range(self, counts, 1)
        positive = ["gan_learning_rate", "gan_ceiling", "radius", "mining_target"]
        configs.check_range(self, positive, 0, open_low=True)
        configs.check_range(self, ["hard_weight", "alpha"], 0)
        configs.check_range(self, ["score"], 0, 1)
        if self.radius_rule == "score":
            configs.check_range(self, ["radius"], 0, 1, open_low=True)
        if self.strategy != "mirrored":
            raise ValueError(
                "`strategy` must be mirrored: mining is done by one process. "
                f"Received: strategy={self.strategy!r}."
            )
        if any(last <= first for first, last in self.spans()):
            raise ValueError(
                "`epochs` must leave one epoch for each round. Received: "
                f"epochs={self.epochs}, rounds={self.rounds}, "
                f"first_round_epochs={self.first_round_epochs}."
            )

    def spans(self):
        """Returns the first epoch of each round, from 0, and that behind its last."""
        first = self.first_round_epochs
        if self.rounds == 1 or first is None:
            ends = [
                self.epochs * each // self.rounds for each in range(self.rounds + 1)
            ]
        else:
            rest, others = self.epochs - first, self.rounds - 1
            ends = [0] + [first + rest * each // others for each in range(self.rounds)]
        return list(zip(ends, ends[1:]))


# Our own choices, by name, so that a preset can be laid over a config file's.
Config.PRESETS["tfembed"].update(
    {name: Config.__dataclass_fields__[name].default for name in _CODE}
)


class InstanceSimilarityLearning(Recipe):
    """Rounds of an encoder, and between them of a GAN that finds positives."""

    name = "isl"
    Config = Config

    def build(self, config, data):
        """Builds the networks: the endpoint layer stands on the embeddings."""
        from tensorflow import keras

        from tfembed.layers import InstanceSimilarity

        built = build_encoder(config, tuple(data.image_shape))
        encoder, features = built.models()
        ids = keras.Input((), dtype="int64", name="ids")
        endpoint = InstanceSimilarity(
            data.train.size,
            width=config.set_width,
            hard_weight=config.hard_weight,
            hard=config.hard,
            hard_by=config.hard_by,
            hard_sign=config.hard_sign,
            single=config.single,
            **config.bank(),
        )
        model = keras.Model(
            {"images": built.images, "ids": ids},
            endpoint([built.embeddings, ids]),
            name="isl",
        )
        return Networks(
            model, encoder, features, endpoint=endpoint, backbone=built.backbone
        )

    def prepare(self, run):
        """Fills the bank before the first epoch."""
        if run.config.bank_init == "forward":
            fill_bank(run)

    def callbacks(self, run):
        """Watches the bank."""
        from tfembed.callbacks import BankWatchdog

        return [BankWatchdog(run.networks.endpoint)]

    def spans(self, run):
        """Returns the config's spans; of a run that goes on, the last one is longer."""
        stages = run.directory.read_json("stages.json")
        if not stages:
            return run.config.spans()
        *spans, last = dataclasses.replace(run.config, epochs=stages[0]).spans()
        return [*spans, (last[0], run.config.epochs)]

    def train(self, run):
        """Trains round after round, with the positives mined before each but the first.

        The learning rate follows its schedule through all rounds: no accuracy, and so
        no label, has a say in it.
        """
        mining = None
        for number, (first, last) in enumerate(self.spans(run)):
            if run.first_epoch >= last:
                continue
            if number:
                from tfembed.recipes.mining import Mining

                mining = mining or Mining(run)
                mining.before_round(number)
            run.fit(max(first, run.first_epoch), last)


def main(argv=None):
    """Runs the recipe; returns its `result.json` as a dictionary."""
    return run_recipe(InstanceSimilarityLearning(), argv)


if __name__ == "__main__":
    # Under its own name, so that a config file's `Config` is this one.
    from tfembed.recipes.isl import main

    main()
