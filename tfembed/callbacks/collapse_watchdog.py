"""A watch over the embedding during training: does it collapse?"""

from __future__ import annotations

import math
import warnings

import numpy as np
from tensorflow import keras

from tfembed.hints import Array, Logs
from tfembed.metrics import embed, spread
from tfembed.ops.arguments import as_count, as_number

_RECOVERS = 0.01  # a mean cosine that falls by so much an epoch is on its way


class CollapseWatchdog(keras.callbacks.Callback):
    """Warns when the embeddings of different images become one and the same.

    After each epoch it embeds a few images, always the same ones, in inference mode,
    and adds to the logs: `mean_cosine` of two different images, `effective_rank`, the
    number of directions they spread in, and `mean_norm` before any normalising (see
    `tfembed.metrics.spread`). It warns once of each:

    - all embeddings point in one direction (`mean_cosine`), and come no further apart;
    - they spread in a few directions only (`effective_rank`);
    - their lengths vanish or explode (`mean_norm`), or are not finite.

    It says what to change, and changes nothing of the training.

    ```python
    watchdog = CollapseWatchdog(encoder, images[:256])
    model.fit(data, epochs=10, callbacks=[watchdog])
    ```

    >>> from tfembed.callbacks import CollapseWatchdog
    >>> encoder = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> images = np.random.default_rng(0).normal(size=(64, 8))
    >>> watchdog = CollapseWatchdog(encoder, images)
    >>> sorted(watchdog.measure())
    ['effective_rank', 'mean_cosine', 'mean_norm']

    Args:
        encoder: Keras model from images to embeddings; shares its weights with the
            model that is trained.
        images: A batch of images of different content, a few hundred, at least two.
        every: Look after so many epochs, and after the first one of a fit; the others
            log nothing.
        max_cosine: Largest mean cosine that is no collapse.
        min_rank: Smallest effective rank that is no collapse; by default 5 % of the
            embedding's length, 2 at least, and none where the images are no more than
            that length: so few cannot show it. A supervised encoder of C classes may
            end with C - 1 directions: give it what is below that.

    Raises:
        ValueError: If there are fewer than two images, or a number is out of range.
    """

    def __init__(
        self,
        encoder: keras.Model,
        images: Array,
        every: int = 1,
        max_cosine: float = 0.9,
        min_rank: float | None = None,
    ) -> None:
        super().__init__()
        images = np.asarray(images)
        if images.ndim < 2 or len(images) < 2:
            raise ValueError(
                "`images` must be a batch of at least two images. "
                f"Received: images of shape {images.shape}."
            )
        as_number("max_cosine", max_cosine, above=0, below=1)
        if min_rank is not None:
            as_number("min_rank", min_rank, least=0)
        self.encoder = encoder
        self.images = images
        self.every = as_count("every", every)
        self.max_cosine = max_cosine
        self.min_rank = min_rank
        self._dim: int | None = None
        self._first: dict[str, float] | None = None
        self._last: dict[str, float] | None = None
        self._looked = False  # since the fit began
        self._warned: set[str] = set()

    def measure(self) -> dict[str, float]:
        """Returns `mean_cosine`, `effective_rank` and `mean_norm` of the images now."""
        embeddings = embed(self.encoder, [self.images])
        self._dim = embeddings.shape[1]
        if not np.isfinite(embeddings).all():
            return dict.fromkeys(_NAMES, float("nan"))
        found = spread(embeddings)
        values = found.mean_cosine, found.effective_rank, float(found.norms.mean())
        return dict(zip(_NAMES, values))

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Looks at where training starts."""
        self._first = self._last = self.measure()
        self._looked = False

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Adds the numbers to the logs, and warns."""
        if self._looked and (epoch + 1) % self.every:
            return
        self._looked = True
        values = self.measure()
        self._check(values, epoch + 1)
        self._last = values
        if logs is not None:
            logs.update(values)

    def _check(self, values, epoch):
        cosine, rank, norm = values.values()
        first, last = self._first or values, self._last or values
        since = f"after epoch {epoch}, from {{:.3g}} before training"
        if not math.isfinite(norm):
            self._warn(
                "finite",
                f"The embeddings are not finite after epoch {epoch}. Take a smaller "
                "learning rate, a larger temperature, or float32.",
            )
            return
        if cosine > self.max_cosine and cosine > last["mean_cosine"] - _RECOVERS:
            self._warn(
                "cosine",
                "The embedding collapses: the mean cosine of two different images is "
                f"{cosine:.3f} {since.format(first['mean_cosine'])}. Take a smaller "
                "learning rate or a longer warm-up, put a batch normalisation without "
                "scale and centre before the unit norm (--head-norm), and see that "
                "the loss has negatives that weigh something: semi-hard instead of "
                "the hardest ones, a larger batch, a larger margin.",
            )
        least = self.min_rank
        if least is None:
            least = max(2.0, 0.05 * self._dim) if len(self.images) > self._dim else 0.0
        if rank < least:
            self._warn(
                "rank",
                "The embedding uses few of its directions: its effective rank is "
                f"{rank:.2f} of {self._dim} "
                f"{since.format(first['effective_rank'])}. Put a batch normalisation "
                "without scale and centre before the unit norm (--head-norm), take "
                "stronger augmentation or a smaller weight decay, or a shorter "
                "embedding. With few classes as labels it is as it should be: then "
                "give a smaller `min_rank`.",
            )
        start = max(first["mean_norm"], 1e-6)
        if math.isfinite(start) and not 1e-3 * start < norm < 1e3 * start:
            self._warn(
                "norm",
                f"The mean length of an embedding is {norm:.3g} "
                f"{since.format(first['mean_norm'])}. Take a smaller learning rate, "
                "weight decay on the last layer if it grows and less of it if it "
                "vanishes, or end the encoder with tfembed.layers.UnitNorm.",
            )

    def _warn(self, kind, message):
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(message, UserWarning, stacklevel=2)


_NAMES = ("mean_cosine", "effective_rank", "mean_norm")
