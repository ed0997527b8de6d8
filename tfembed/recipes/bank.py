"""What recipes with a memory bank share: its settings and its first rows."""

import dataclasses

from tfembed.recipes import config as configs
from tfembed.recipes.config import option
from tfembed.recipes.settings import Settings


@dataclasses.dataclass(frozen=True)
class BankSettings(Settings):
    """`Settings`, and those of a memory bank and the softmax against it."""

    temperature: float = option(0.1, "divides the similarities")
    momentum: float = option(0.5, "share of the old row in a bank update")
    proximal: float = option(0.0, "weight of the proximal term")
    bank_init: str = option(
        "forward",
        "first rows of the bank: from a forward pass over the images, random unit "
        "vectors, or the paper's code's uniform numbers",
        ("forward", "unit", "paper"),
    )

    def __post_init__(self):
        super().__post_init__()
        configs.check_range(self, ["temperature"], 0, open_low=True)
        configs.check_range(self, ["proximal"], 0)
        if not 0 <= self.momentum < 1:
            raise ValueError(
                "`momentum` must be at least 0 and below 1. "
                f"Received: momentum={self.momentum}."
            )

    def bank(self):
        """Returns the arguments that the endpoint layers have in common."""
        return {
            "temperature": self.temperature,
            "momentum": self.momentum,
            "proximal": self.proximal,
            "initializer": "paper" if self.bank_init == "paper" else "unit",
            "seed": self.seed,
            "name": "endpoint",
        }


def even_batches(split, replicas, seed, limit=250):
    """Batches of every image, of which each replica gets equally many.

    Args:
        split: A `tfembed.data.Split`.
        replicas: Number of replicas.
        seed: Integer, of the order.
        limit: Images in a batch, at most (but for `replicas` of them).

    Returns:
        `tf.data.Dataset` as `Split.batches`. On several replicas the last batch is
        filled up with images of its own, once more: a replica without rows would stop
        all of them.
    """
    import tensorflow as tf

    count = -(-split.size // max(limit // replicas * replicas, 1))
    rows = -(-split.size // count)
    rows = -(-rows // replicas) * replicas
    batches = split.batches(rows, seed)
    if replicas == 1:
        return batches

    def fill_up(batch):
        which = tf.range(rows) % tf.shape(batch["ids"])[0]
        return tf.nest.map_structure(lambda values: tf.gather(values, which), batch)

    return batches.map(fill_up)


def fill_bank(run):
    """Fills the bank of a run's endpoint layer from a forward pass over the images.

    In training mode, on clean images in shuffled order: batch normalisation uses
    the batches' statistics, and its moving averages are warm afterwards.

    Args:
        run: The `Run`.
    """
    import tensorflow as tf

    encoder, bank = run.networks.encoder, run.networks.endpoint.bank
    batches = even_batches(
        run.data.train, run.strategy.num_replicas_in_sync, run.config.seed
    )

    def step(batch):
        embeddings = encoder(batch["images"], training=True)
        bank.write(embeddings, batch["ids"], momentum=0.0)

    @tf.function(reduce_retracing=True)
    def distributed_step(batch):
        run.strategy.run(step, args=(batch,))

    for batch in run.strategy.experimental_distribute_dataset(batches):
        distributed_step(batch)
