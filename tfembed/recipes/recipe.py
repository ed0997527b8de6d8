"""What a method brings to the shape that all recipes share."""

from typing import Any


class Recipe:
    """A method: its networks, its batches, and what it does beside `fit`.

    `tfembed.recipes.training` runs it. A subclass sets `name` and `Config`, a
    `Settings` with the method's own fields, and defines `build`; what else differs
    from the default it overrides. `views` says how many times each image of a batch is
    augmented.
    """

    name: Any = None
    Config: Any = None
    views = 1

    def build(self, config, data):
        """Builds the `Networks`, in the strategy's scope.

        Args:
            config: The config.
            data: The `ImageData`.
        """
        raise NotImplementedError

    def optimizer(self, config, steps, rates=None):
        """Builds the optimizer.

        Args:
            config: The config.
            steps: Steps in an epoch.
            rates: As in `tfembed.training.build_optimizer`.
        """
        from tfembed.training import build_optimizer, build_schedule

        schedule = build_schedule(
            config.schedule,
            config.learning_rate,
            config.epochs * steps,
            steps,
            config.warmup_epochs * steps,
        )
        return build_optimizer(
            config.optimizer,
            schedule,
            config.sgd_momentum,
            config.weight_decay,
            rates,
            config.ema,
        )

    def steps(self, config, data):
        """Returns the number of batches in an epoch."""
        return -(-data.train.size // config.batch_size)

    def images_in_epoch(self, config, data):
        """Returns how many images an epoch goes through."""
        return data.train.size

    def batches(self, run, first_epoch, last_epoch):
        """Returns the dataset that `fit` trains on, a function of seed and epoch.

        Args:
            run: The `Run`.
            first_epoch: The epoch to start with, counted from 0.
            last_epoch: The epoch to stop before.
        """
        return run.data.train.epochs(
            run.config.batch_size,
            run.config.seed,
            first_epoch,
            last_epoch,
            run.augmentation,
            lanes=2,
            views=self.views,
        )

    def prepare(self, run):
        """Runs once, before the first epoch."""

    def least_rank(self, config, data):
        """Returns the effective rank of an embedding below which it has collapsed."""
        return None  # as in `CollapseWatchdog`

    def callbacks(self, run):
        """Returns the method's own callbacks."""
        return []

    def trained_beside(self, run):
        """Trains what the run is measured against, after it.

        Returns:
            Rows of the result's table, `None` for one that there is not.
        """
        return []

    def train(self, run):
        """Trains, from `run.first_epoch` on."""
        run.fit(run.first_epoch, run.config.epochs)
