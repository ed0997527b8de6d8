"""A generator of what could be an instance's positives, and its discriminator."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from tfembed import compat
from tfembed.ops.arguments import check_choice, check_count, check_not_negative
from tfembed.ops.draws import uniform
from tfembed.ops.ids import flat_ids
from tfembed.ops.replicas import total
from tfembed.ops.rows import read_rows
from tfembed.ops.zero_rows import around_zero_rows, at_least_one_row

POSITIVES = ("own_row", "set")
FAKES = ("half", "one")
GENERATOR_LOSSES = ("non_saturating", "minimax")
SLOPE = 0.01


def build_generator(dim: int, seed: int | None = None) -> keras.Model:
    """Builds the network from a triplet to a proxy of the anchor's positives.

    Three layers of width `2 * dim`, `dim`, `dim`, and a unit norm. It takes no noise:
    proxies of one anchor differ by the triplet's positive and negative.

    >>> from tfembed.training import build_generator
    >>> rows = tf.math.l2_normalize(tf.random.normal([3, 8]), axis=1)
    >>> build_generator(8, seed=0)([rows, rows, rows]).shape
    TensorShape([3, 8])

    Args:
        dim: Length of an embedding.
        seed: Integer seed of the weights.

    Returns:
        A `keras.Model` from `[anchors, positives, negatives]`, each `(batch, dim)`,
        to unit rows `(batch, dim)`.
    """
    inputs, hidden = _joined(dim)
    for place, width in enumerate((2 * dim, dim)):
        hidden = keras.layers.LeakyReLU(SLOPE, dtype="float32")(
            _dense(width, seed, place)(hidden)
        )
    proxies = _dense(dim, seed, 2)(hidden)
    proxies = UnitLength(dtype="float32")(proxies)
    return keras.Model(inputs, proxies, name="generator")


def build_discriminator(dim: int, seed: int | None = None) -> keras.Model:
    """Builds the network that tells triplets of instances from those with a proxy.

    Three layers of width `dim`, `dim / 2` and 1.

    >>> from tfembed.training import build_discriminator
    >>> rows = tf.math.l2_normalize(tf.random.normal([3, 8]), axis=1)
    >>> build_discriminator(8, seed=0)([rows, rows, rows]).shape
    TensorShape([3, 1])

    Args:
        dim: Length of an embedding.
        seed: Integer seed of the weights.

    Returns:
        A `keras.Model` from `[anchors, positives, negatives]`, each `(batch, dim)`,
        to logits `(batch, 1)`; their sigmoid is the paper's D.
    """
    inputs, hidden = _joined(dim)
    for place, width in enumerate((dim, max(1, dim // 2))):
        hidden = keras.layers.LeakyReLU(SLOPE, dtype="float32")(
            _dense(width, seed, 3 + place)(hidden)
        )
    return keras.Model(inputs, _dense(1, seed, 5)(hidden), name="discriminator")


def _joined(dim):
    inputs = [
        keras.Input((dim,), name=name, dtype="float32")
        for name in ("anchors", "positives", "negatives")
    ]
    return inputs, keras.layers.Concatenate(dtype="float32")(inputs)


def _dense(width, seed, place):
    """A layer that starts as PyTorch's do, but for a bias of zeros."""
    if seed is not None:
        seed = 6 * seed + place
    initializer = keras.initializers.VarianceScaling(
        1 / 3, "fan_in", "uniform", seed=seed
    )
    return keras.layers.Dense(width, kernel_initializer=initializer, dtype="float32")


@keras.utils.register_keras_serializable(package="tfembed")
class UnitLength(keras.layers.Layer):
    """Divides each row by its length, as the last layer of the generator."""

    def call(self, inputs):
        return tf.math.l2_normalize(inputs, axis=1, epsilon=1e-12)

    def compute_output_shape(self, input_shape):
        return input_shape


class ProxyGAN(keras.Model):
    """Learns to generate proxies: features that could be an instance's positives.

    A triplet is an anchor, the embedding of an augmented image by the frozen encoder;
    a positive; and a negative, the row of the bank that is most like the anchor among
    `candidates` rows, drawn at random, that are not in the anchor's positive set. The
    generator makes a proxy g of it, which takes the positive's place in one false
    triplet and the negative's in the other:

        D(real) = D(a, p, n), D(near) = D(a, g, n), D(far) = D(a, p, g)
        discriminator: maximise log D(real) + log(1 - D(near)) + alpha log(1 - D(far))
        generator: deceive it in both

    (The paper prints min over D and max over G, which is the wrong way round.) D(near)
    then measures how well g passes for a positive, which is what mining goes by: see
    `ProxyMiner`.

    Encoder and bank are read, and belong to no weights of this model: `fit` trains
    the generator and the discriminator alone, on `{"images", "ids"}`.

    On N replicas it trains as on one. What is random is a function of the seed, the
    number of the step and the instance.

    >>> from tfembed.layers import InstanceSimilarity, UnitNorm
    >>> from tfembed.training import ProxyGAN
    >>> layers = [keras.Input((8,)), keras.layers.Dense(4), UnitNorm()]
    >>> encoder = keras.Sequential(layers)
    >>> endpoint = InstanceSimilarity(64)
    >>> images, ids = np.random.rand(64, 8).astype("float32"), np.arange(64)
    >>> embeddings = endpoint([encoder(images), ids])
    >>> gan = ProxyGAN(encoder, endpoint, candidates=16)
    >>> gan.compile(learning_rate=1e-4)
    >>> data = tf.data.Dataset.from_tensor_slices({"images": images, "ids": ids})
    >>> history = gan.fit(data.batch(32), verbose=0)

    Args:
        encoder: From images to unit embeddings; called in inference mode.
        endpoint: The endpoint layer, built: its `bank`, and its `positives_of(ids)`.
            See `tfembed.layers.InstanceSimilarity`.
        positive: The triplet's positive: `"own_row"`, the anchor's own row of the bank
            as in the paper's code; `"set"`, a random member of its set as in the
            paper.
        alpha: Weight of the term of D(far); the larger, the nearer are proxies to the
            negatives. 1 in the paper's code.
        fakes: What the terms of the two false triplets weigh beside that of the real
            one: `"half"`, together as much, as in the paper's code; `"one"`, as the
            formula says.
        generator_loss: `"non_saturating"`, -log D, as in the paper's code;
            `"minimax"`, log(1 - D), as the formula says.
        candidates: Rows that a negative is chosen among.
        seed: Integer, of the draws and of the first weights.

    Reference: Wang et al., 2021, section 3.2 (https://arxiv.org/abs/2108.02721).
    """

    def __init__(
        self,
        encoder: keras.Model,
        endpoint: keras.layers.Layer,
        positive: str = "own_row",
        alpha: float = 1.0,
        fakes: str = "half",
        generator_loss: str = "non_saturating",
        candidates: int = 4096,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        check_choice(POSITIVES, positive=positive)
        check_choice(FAKES, fakes=fakes)
        check_choice(GENERATOR_LOSSES, generator_loss=generator_loss)
        check_not_negative(alpha=alpha)
        check_count(candidates=candidates)
        # Behind a function, so that they are not taken for layers of this model.
        self.frozen = lambda: (encoder, endpoint)
        self.positive = positive
        self.alpha = float(alpha)
        self.fakes = fakes
        self.generator_loss = generator_loss
        self.candidates = int(candidates)
        self.seed = int(seed)
        dim = endpoint.bank.dim
        self.generator = build_generator(dim, seed)
        self.discriminator = build_discriminator(dim, seed)
        self.losses_of = {
            name: keras.metrics.Mean(name=name)
            for name in ("generator_loss", "discriminator_loss")
        }
        self.built = True

    def compile(self, learning_rate: float = 1e-4, **kwargs: Any) -> None:
        """Compiles with an Adam for each network.

        Args:
            learning_rate: Of both; the paper's code takes 1e-4.
            **kwargs: As in `keras.Model.compile`.
        """
        super().compile(
            optimizer=keras.optimizers.Adam(learning_rate),
            **{"jit_compile": False, **kwargs},
        )
        self.discriminator_optimizer = keras.optimizers.Adam(learning_rate)
        self.build_optimizers()

    def build_optimizers(self) -> None:
        """Makes the optimizers' state now, so that a backup can be restored."""
        for optimizer, network in self._trained():
            compat.build_optimizer(optimizer, network.trainable_variables)

    def _trained(self):
        return (
            (self.optimizer, self.generator),
            (self.discriminator_optimizer, self.discriminator),
        )

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return list(self.losses_of.values())

    def call(
        self, inputs: Any, training: bool | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns proxies `(batch, dim)` of `{"images", "ids"}`, and their D(near)."""

        def of_rows(images, ids):
            number = tf.constant(0, tf.int64)
            return self.proxies(*self.triplets(self.embed(images), ids, number)[:3])

        return around_zero_rows(of_rows, inputs["images"], inputs["ids"])

    def embed(self, images: tf.Tensor) -> tf.Tensor:
        """Returns embeddings by the encoder, frozen: `(batch, dim)`, float32."""
        encoder, _ = self.frozen()
        embeddings = encoder(images, training=False)
        return tf.stop_gradient(tf.cast(embeddings, tf.float32))

    def triplets(
        self, anchors: tf.Tensor, ids: tf.Tensor, number: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Completes anchors to triplets.

        Args:
            anchors: `(batch, dim)`, float32.
            ids: `(batch,)`, int64.
            number: Scalar int64, of the step: other numbers are other draws.

        Returns:
            Anchors, positives and negatives, `(batch, dim)`; and `(batch,)`, bool:
            whether there is a negative. (Where all candidates are in the anchor's
            set, there is none.)
        """
        _, endpoint = self.frozen()
        bank = endpoint.bank.variable
        size = bank.shape[0]
        ids = flat_ids(ids)
        others = endpoint.positives_of(ids)
        drawn = tf.random.stateless_uniform(
            [self.candidates],
            tf.stack([tf.constant(self.seed, tf.int64), number]),
            maxval=size,
            dtype=tf.int64,
            alg="philox",  # the same draw on a CPU and on a GPU
        )
        rows = read_rows(bank, drawn)
        scores = tf.matmul(anchors, rows, transpose_b=True)
        known = _members(drawn, tf.concat([ids[:, None], others], axis=1))
        scores = tf.where(known, scores.dtype.min, scores)
        negatives = tf.gather(rows, tf.argmax(scores, axis=1))
        sound = tf.reduce_any(~known, axis=1)
        return anchors, self._positives(bank, ids, others, number), negatives, sound

    def _positives(self, bank, ids, others, number):
        if self.positive == "own_row":
            return read_rows(bank, ids)
        count = 1 + tf.reduce_sum(tf.cast(others >= 0, tf.int64), axis=1)
        draw = uniform(ids, number * 2 + 2 * self.seed + 1)
        place = tf.cast(draw * tf.cast(count, tf.float64), tf.int64)
        members = tf.concat([ids[:, None], others], axis=1)
        return read_rows(bank, tf.gather(members, place, axis=1, batch_dims=1))

    def proxies(
        self, anchors: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the proxies of triplets, `(batch, dim)`, and D(near), `(batch,)`."""
        anchors, positives, negatives = (
            tf.convert_to_tensor(each, tf.float32)
            for each in (anchors, positives, negatives)
        )
        proxies = self.generator([anchors, positives, negatives])
        near = self.discriminator([anchors, proxies, negatives])
        return proxies, tf.sigmoid(near[:, 0])

    def train_step(self, data: Any) -> dict[str, Any]:
        """Trains the discriminator, then the generator by what it has become."""
        batch = keras.utils.unpack_x_y_sample_weight(data)[0]
        rows = tf.shape(batch["ids"])[0]
        images, ids = at_least_one_row(batch["images"], batch["ids"])
        triplet = self.triplets(
            self.embed(images),
            ids,
            tf.cast(tf.convert_to_tensor(self.optimizer.iterations), tf.int64),
        )
        anchors, positives, negatives, sound = triplet
        sound &= tf.range(tf.shape(sound)[0]) < rows  # what is added does not count
        weights = tf.cast(sound, tf.float32)
        # Of the global batch; gradients are summed over the replicas.
        weights /= tf.maximum(total(tf.reduce_sum(weights)), 1.0)
        losses = {}

        def false_logits(proxies):
            return (
                self.discriminator([anchors, proxies, negatives])[:, 0],
                self.discriminator([anchors, positives, proxies])[:, 0],
            )

        proxies = self.generator([anchors, positives, negatives])
        with tf.GradientTape() as tape:
            real = self.discriminator([anchors, positives, negatives])[:, 0]
            near, far = false_logits(tf.stop_gradient(proxies))
            false = _minus_log(-near) + self.alpha * _minus_log(-far)
            if self.fakes == "half":
                false = false / 2
            loss = tf.reduce_sum(weights * (_minus_log(real) + false) / 2)
        self._apply(1, tape, loss)
        losses["discriminator_loss"] = loss
        with tf.GradientTape() as tape:
            proxies = self.generator([anchors, positives, negatives])
            near, far = false_logits(proxies)
            if self.generator_loss == "minimax":
                deceit = -(_minus_log(-near) + self.alpha * _minus_log(-far))
            else:
                deceit = _minus_log(near) + self.alpha * _minus_log(far)
            loss = tf.reduce_sum(weights * deceit / 2)
        self._apply(0, tape, loss)
        losses["generator_loss"] = loss
        for name, metric in self.losses_of.items():
            metric.update_state(total(losses[name]))
        return {name: metric.result() for name, metric in self.losses_of.items()}

    def _apply(self, which, tape, loss):
        optimizer, network = self._trained()[which]
        variables = network.trainable_variables
        gradients = tape.gradient(loss, [compat.variable(each) for each in variables])
        optimizer.apply_gradients(zip(gradients, variables))


def _minus_log(logits):
    """Returns `-log(sigmoid(logits))`, without overflow."""
    return tf.nn.softplus(-logits)


def _members(drawn, members):
    """Tells which drawn rows are in which set: `(batch, drawn)`, bool.

    Args:
        drawn: `(drawn,)`.
        members: `(batch, width)`, -1 where there is none.
    """
    return tf.foldl(  # a column at a time: never (batch, width, drawn)
        lambda known, column: known | (column[:, None] == drawn[None, :]),
        tf.transpose(members),
        tf.zeros([tf.shape(members)[0], tf.shape(drawn)[0]], tf.bool),
    )
