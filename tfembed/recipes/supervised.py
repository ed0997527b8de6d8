"""Supervised metric learning: any loss of the library, on classes that have labels.

Batches hold P classes of K images. By default the classes are halved: one half is
trained on, and retrieval is measured among the images of the other, as on CUB, Cars
and Stanford Online Products.

Without any flag: multi-similarity on five classes of Fashion-MNIST, measured on the
other five; a few minutes on a CPU.
"""

import dataclasses
from typing import Optional

from tfembed.recipes import config as configs
from tfembed.recipes.command import run_recipe
from tfembed.recipes.config import default, option
from tfembed.recipes.networks import Networks, build_encoder
from tfembed.recipes.objectives import (
    LOSSES,
    MINERS,
    TWO_ROWS,
    build_objective,
    check_options,
    read_dims,
    read_options,
    read_schedule,
)
from tfembed.recipes.recipe import Recipe
from tfembed.recipes.settings import Settings
from tfembed.recipes.softmax_baseline import classifier, softmax_row

SCHEDULED = ("temperature", "scale", "alpha")
SAMPLES = 8  # of a class in a batch, where there are classes enough


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Settings of a run; every field is a flag."""

    split: str = default(Settings, "split", "unseen")
    epochs: int = default(Settings, "epochs", 6)
    optimizer: str = default(Settings, "optimizer", "adam")
    learning_rate: float = default(Settings, "learning_rate", 0.001)
    # What is alike is said by labels: a small budget goes into them, not into views.
    crop_min: float = default(Settings, "crop_min", 1.0)
    brightness: float = default(Settings, "brightness", 0.0)
    contrast: float = default(Settings, "contrast", 0.0)
    saturation: float = default(Settings, "saturation", 0.0)
    hue: float = default(Settings, "hue", 0.0)
    grayscale: float = default(Settings, "grayscale", 0.0)

    loss: str = option(
        "multi_similarity", "the loss, by name, or your own, module:Class", LOSSES
    )
    loss_options: str = option("", "its settings, as margin=0.5,form=cosine")
    samples_per_class: Optional[int] = option(
        None,
        "images of a class in a batch, K; the batch has batch_size / K classes. By "
        "default 8, more where there are too few classes for that, and 2 for losses "
        "that want 2",
    )
    steps_per_epoch: int = option(
        0, "batches of an epoch; 0 for as many as hold all images"
    )
    unit_norm: bool = option(
        True,
        "give the loss embeddings of unit length; where not, the loss sees them "
        "before they are divided by their length, as N-pair and center loss want it",
    )
    miner: str = option(
        "none", "which pairs count, by name, or your own, module:Class", MINERS
    )
    cross_batch: int = option(
        0, "rows of earlier batches that the loss compares with, too; 0 for none"
    )
    cross_batch_warmup: int = option(0, "steps without them at the beginning")
    matryoshka: str = option(
        "",
        "train the first numbers of an embedding, too, as embeddings of their own: how "
        "many, as 8,16,64, the last one the dimension; the loss's values are added up",
    )
    per_class: int = option(1, "proxies of a class")
    proxy_merge: float = option(
        0.0, "draws the proxies of a class together; 0.2 in SoftTriple's paper"
    )
    proxy_rate: float = option(
        10.0, "learning rate of the proxies, as a multiple of the network's"
    )
    temperature_schedule: str = option(
        "",
        "first epochs and values of the loss's temperature or scale, as "
        "0:0.0625,60:0.25 (heated-up softmax)",
    )
    softmax_baseline: bool = option(
        True,
        "train a softmax classifier of the same network and budget, too, as a row of "
        "the result; takes as long again",
    )

    def __post_init__(self):
        super().__post_init__()
        configs.check_range(self, ["samples_per_class", "per_class"], 1)
        counts = ["steps_per_epoch", "cross_batch", "cross_batch_warmup"]
        configs.check_range(self, [*counts, "proxy_merge"], 0)
        configs.check_range(self, ["proxy_rate"], 0, open_low=True)
        check_options(self.loss, read_options(self.loss_options))
        read_schedule(self.temperature_schedule)
        dims = read_dims(self.matryoshka)
        if dims and dims[-1] != self.dim:
            raise ValueError(
                "`matryoshka` must end with the embedding's dimension, which otherwise "
                f"nothing trains. Received: matryoshka={self.matryoshka!r}, "
                f"dim={self.dim}."
            )
        if self.loss in TWO_ROWS and self.samples_per_class not in (None, 2):
            raise ValueError(
                f"--loss {self.loss} needs two images of each class in a batch: "
                "--samples-per-class 2. Received: "
                f"samples_per_class={self.samples_per_class}."
            )
        least = 2 if self.loss in TWO_ROWS else 1
        if self.batch_size % (self.samples_per_class or least):
            raise ValueError(
                "`batch_size` must be a multiple of `samples_per_class`. Received: "
                f"batch_size={self.batch_size}, "
                f"samples_per_class={self.samples_per_class or least}."
            )
        if 0 < self.cross_batch < self.batch_size:
            raise ValueError(
                "`cross_batch` must be 0, or at least `batch_size`. Received: "
                f"cross_batch={self.cross_batch}, batch_size={self.batch_size}."
            )


def samples_of_a_class(config, classes):
    """Returns how many images of a class a batch has.

    By default the fewest, 8 at least, with which the batch has not more classes than
    there are; with a small batch the most that leave it two classes.

    Args:
        config: The config.
        classes: Number of training classes.

    Raises:
        ValueError: If the batch cannot be divided into classes.
    """
    size = config.batch_size
    if config.samples_per_class is not None:
        return config.samples_per_class
    if config.loss in TWO_ROWS:
        return 2
    fitting = [
        each for each in range(1, size) if size % each == 0 and size // each <= classes
    ]
    if not fitting:
        raise ValueError(
            "`batch_size` must be a number of classes, 2 at least and not more than "
            f"there are, times a number of images. Received: batch_size={size}, "
            f"{classes} classes. Take 64, or say --samples-per-class."
        )
    return next((each for each in fitting if each >= SAMPLES), fitting[-1])


class Supervised(Recipe):
    """Classes with labels, any loss."""

    name = "supervised"
    Config = Config

    def build(self, config, data):
        """Builds the networks, and the loss on top."""
        from tensorflow import keras

        built = build_encoder(config, tuple(data.image_shape))
        encoder, features = built.models()
        labels = keras.Input((), dtype="int64", name="labels")
        embeddings = built.embeddings if config.unit_norm else built.projected
        objective = build_objective(
            config, embeddings, labels, len(self._classes(config, data))
        )
        inputs = {"images": built.images}
        if objective.labelled:
            inputs["labels"] = labels
        model = keras.Model(inputs, objective.outputs, name="supervised")
        return Networks(
            model,
            encoder,
            features,
            loss=objective.loss,
            scheduled=objective.scheduled,
            backbone=built.backbone,
        )

    def build_classifier(self, config, data):
        """Builds the same encoder with a softmax classifier on top."""
        from tensorflow import keras

        built = build_encoder(config, tuple(data.image_shape))
        encoder, features = built.models()
        outputs, loss = classifier(built, config, len(self._classes(config, data)))
        model = keras.Model({"images": built.images}, outputs, name="classifier")
        return Networks(model, encoder, features, loss=loss, backbone=built.backbone)

    def trained_beside(self, run):
        """Trains the softmax classifier of the same network and budget."""
        wanted = run.config.softmax_baseline and run.judge.labelled
        return [softmax_row(run)] if wanted else []

    def optimizer(self, config, steps):
        """Builds the optimizer; proxies have a rate of their own."""
        return super().optimizer(config, steps, {"proxies": config.proxy_rate})

    def steps(self, config, data):
        """Returns the number of batches in an epoch."""
        return config.steps_per_epoch or max(1, data.train.size // config.batch_size)

    def images_in_epoch(self, config, data):
        """Returns how many images an epoch goes through."""
        return self.steps(config, data) * config.batch_size

    def batches(self, run, first_epoch, last_epoch):
        """Batches of P classes x K images; the labels as a model input and as `y`."""
        import numpy as np

        from tfembed.data import class_balanced

        config, train = run.config, run.data.train
        classes = self._classes(config, run.data)
        each = samples_of_a_class(config, len(classes))
        inputs = [known.name for known in run.networks.model.inputs]

        def example(batch):
            labels = batch["labels"]
            x = {"images": batch["images"], "labels": labels}
            x = {name: x[name] for name in inputs}
            return (x, labels) if run.networks.loss is not None else x

        return class_balanced(
            np.searchsorted(classes, train.labels),
            config.batch_size // each,
            each,
            seed=config.seed,
            read=train,
            augmentation=run.augmentation,
            first_epoch=first_epoch,
            last_epoch=last_epoch,
            steps_per_epoch=run.steps,
            lanes=2,
        ).map(example)

    def least_rank(self, config, data):
        """C classes may end in C - 1 directions: half of them is a collapse."""
        classes = len(self._classes(config, data))
        return min(0.05 * config.dim, 0.5 * (classes - 1))

    def callbacks(self, run):
        """Drives the temperature, if there is a schedule for it."""
        schedule = read_schedule(run.config.temperature_schedule)
        target = run.networks.scheduled
        if schedule is None or target is None:  # a classifier has no temperature
            return []
        from tfembed.callbacks import TemperatureSchedule

        named = [name for name in SCHEDULED if hasattr(target, name)]
        if not named:
            raise ValueError(
                "--temperature-schedule goes with losses that have a temperature or "
                f"scale. Received: --loss {run.config.loss}."
            )
        return [TemperatureSchedule(target, schedule, named[0])]

    def _classes(self, config, data):
        """Returns the training classes' labels, sorted."""
        import numpy as np

        if data.train.labels is None:
            raise ValueError(
                "Supervised training needs a label for each image. Received: "
                f"{config.dataset!r}, which has none. Take a folder with one folder a "
                "class, or train without labels: tfembed.recipes.instdisc."
            )
        classes = np.unique(data.train.labels)
        if len(classes) < 2:
            raise ValueError(
                "Supervised training tells classes apart: it needs two or more. "
                f"Received: {config.dataset!r}, with one class to train on. Take a "
                "folder with one folder a class, or train without labels: "
                "tfembed.recipes.instdisc."
            )
        wanted = config.batch_size // samples_of_a_class(config, len(classes))
        if wanted > len(classes):
            raise ValueError(
                f"A batch would hold {wanted} classes, batch_size / samples_per_class, "
                f"and there are {len(classes)} to train on. Lower --batch-size, or "
                "raise --samples-per-class."
            )
        return classes


def main(argv=None):
    """Runs the recipe; returns its `result.json` as a dictionary."""
    return run_recipe(Supervised(), argv)


if __name__ == "__main__":
    # Under its own name, so that a config file's `Config` is this one.
    from tfembed.recipes.supervised import main

    main()
