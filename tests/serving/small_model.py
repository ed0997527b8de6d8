"""A small SavedModel with the signatures of an export, made without the exporter."""

import os

import numpy as np
import tensorflow as tf

HEIGHT, WIDTH, CHANNELS, DIM, K = 6, 5, 3, 8, 4
CLASSES = np.array(["ant", "bée", "cat/dog"])
GALLERY = 30


def gallery():
    """Returns the unit rows, ids and labels that `write_model` bakes in."""
    draw = np.random.default_rng(7)
    rows = draw.normal(size=(GALLERY, DIM)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    ids = np.array([f"set/{row:03d}" for row in range(GALLERY)])
    return rows, ids, CLASSES[np.arange(GALLERY) % len(CLASSES)]


def weights():
    """Returns the matrix of the encoder."""
    size = HEIGHT * WIDTH * CHANNELS
    return np.random.default_rng(3).normal(size=(size, DIM)).astype(np.float32)


def expected_scores(images):
    """Returns the similarities `(batch, gallery)` in float64."""
    flat = np.asarray(images, np.float64).reshape(len(images), -1) / 255.0 - 0.5
    embeddings = flat @ weights().astype(np.float64)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings @ gallery()[0].astype(np.float64).T


class _Small(tf.Module):
    def __init__(self, ids_prefix=""):
        super().__init__()
        rows, ids, labels = gallery()
        self.weights = tf.Variable(weights())
        self.rows = tf.Variable(rows)
        self.ids = tf.Variable([ids_prefix + name for name in ids])
        self.labels = tf.Variable([label.encode() for label in labels])

    def _decode(self, image_bytes):
        def one(data):
            is_png = tf.strings.substr(data, 0, 4) == b"\x89PNG"
            image = tf.cond(
                is_png,
                lambda: tf.io.decode_png(data, CHANNELS),
                lambda: tf.zeros([HEIGHT, WIDTH, CHANNELS], tf.uint8),
            )
            image = tf.image.resize(tf.cast(image, tf.float32), [HEIGHT, WIDTH])
            return image, is_png

        return tf.map_fn(one, image_bytes, (tf.float32, tf.bool))

    def _embed(self, images):
        flat = tf.reshape(images, [-1, HEIGHT * WIDTH * CHANNELS]) / 255.0 - 0.5
        return tf.math.l2_normalize(flat @ self.weights, axis=1)

    def _search(self, images, valid):
        scores, rows = tf.math.top_k(
            tf.matmul(self._embed(images), self.rows, transpose_b=True), K
        )
        labels = tf.gather(self.labels, rows)
        return {
            "ids": tf.gather(self.ids, rows),
            "labels": labels,
            "scores": scores,
            "vote": labels[:, 0],
            "vote_probability": tf.nn.softmax(scores)[:, 0],
            "known": scores[:, 0] > 0.5,
            "valid": valid,
        }

    @tf.function(
        input_signature=[tf.TensorSpec([None, HEIGHT, WIDTH, CHANNELS], name="images")]
    )
    def embed(self, images):
        return {
            "embeddings": self._embed(images),
            "valid": tf.ones(tf.shape(images)[:1], tf.bool),
        }

    @tf.function(
        input_signature=[tf.TensorSpec([None, HEIGHT, WIDTH, CHANNELS], name="images")]
    )
    def search_images(self, images):
        return self._search(images, tf.ones(tf.shape(images)[:1], tf.bool))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
    def embed_bytes(self, image_bytes):
        images, valid = self._decode(image_bytes)
        return {"embeddings": self._embed(images), "valid": valid}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
    def search_bytes(self, image_bytes):
        return self._search(*self._decode(image_bytes))

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, "a"),
            tf.TensorSpec([None], tf.int64, "b"),
        ]
    )
    def two(self, a, b):
        """Two inputs, outputs of several dtypes, among them bytes."""
        return {
            "sum": a + tf.cast(b, tf.float32),
            "twice": 2 * b,
            "text_bytes": tf.strings.as_string(b),
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def one(self, x):
        """One input, one output."""
        return {"y": x * 2.0}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def scalar(self, x):
        """An output without a batch axis."""
        return {"total": tf.reduce_sum(x)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def failing(self, x):
        """Fails in a kernel."""
        with tf.control_dependencies(
            [tf.debugging.assert_positive(x, "x is not positive")]
        ):
            return {"y": tf.identity(x)}


def write_model(base_path, version, ids_prefix=""):
    """Writes a version whole: hidden beside its place first, then renamed."""
    module = _Small(ids_prefix)
    names = ("embed", "search_images", "embed_bytes", "search_bytes")
    names += ("two", "one", "scalar", "failing")
    signatures = {name: getattr(module, name) for name in names}
    signatures["serving_default"] = module.search_bytes
    hidden = os.path.join(base_path, f".writing-{version}")
    tf.saved_model.save(module, hidden, signatures=signatures)
    os.rename(hidden, os.path.join(base_path, str(version)))


def images(count, seed=0):
    """Returns uint8 images of the model's size."""
    draw = np.random.default_rng(seed)
    return draw.integers(0, 256, (count, HEIGHT, WIDTH, CHANNELS), np.uint8)


def png(image):
    """Encodes an image as PNG."""
    return tf.io.encode_png(image).numpy()
