"""What the miners have in common."""


class Miner:
    """Says which positives and which negatives of each anchor count.

    A miner is called with `tfembed.ops.pairs.Pairs` and returns two masks
    `(rows, refs)`. It has no state and no gradient; its constructor's arguments are
    attributes, and its config.
    """

    def __call__(self, pairs):
        """Returns the masks of the positives and of the negatives that count."""
        raise NotImplementedError

    def get_config(self):
        """Returns the constructor's arguments, by name."""
        return dict(vars(self))

    @classmethod
    def from_config(cls, config):
        """Makes a miner from its config."""
        return cls(**config)
