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


def fill_bank(run):
    """Fills the bank of a run's endpoint layer from a forward pass over the images.

    In training mode, on clean images in shuffled order: batch normalisation uses
    the batches' statistics, and its moving averages are warm afterwards.

    Args:
        run: The `Run`.
    """
    import tensorflow as tf

    encoder, bank = run.networks.encoder, run.networks.endpoint.bank
    replicas = run.strategy.num_replicas_in_sync
    batches = run.data.train.batches(250 // replicas * replicas, run.config.seed)

    def step(batch):
        embeddings = encoder(batch["images"], training=True)
        bank.write(embeddings, batch["ids"], momentum=0.0)

    @tf.function(reduce_retracing=True)
    def distributed_step(batch):
        run.strategy.run(step, args=(batch,))

    for batch in run.strategy.experimental_distribute_dataset(batches):
        distributed_step(batch)
