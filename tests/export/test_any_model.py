"""Any Keras embedding model is exported, and answers loaded as it does in Python."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from tfembed.compat import KERAS_3
from tfembed.export.encoder import ExportedEncoder
from tfembed.export.gallery_state import gallery_state
from tfembed.export.heads import load_head
from tfembed.export.run_directory import make_gallery
from tfembed.export.search_model import SearchModel
from tfembed.export.stock_ops import check_stock_ops

SHAPE = (8, 6, 3)
DIM = 4


def functional():
    inputs = keras.Input(SHAPE)
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(DIM)(x)
    return keras.Model(inputs, keras.layers.UnitNormalization(dtype="float32")(x))


def sequential():
    return keras.Sequential(
        [
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(3, 3),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(DIM),
            keras.layers.UnitNormalization(),
        ]
    )


def augmenting():
    inputs = keras.Input(SHAPE)
    x = keras.layers.RandomFlip(seed=1)(inputs)
    x = keras.layers.RandomRotation(0.3, seed=2)(x)
    x = keras.layers.Rescaling(1 / 255)(x)
    x = keras.layers.GaussianNoise(0.5, seed=3)(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dropout(0.5, seed=4)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dense(DIM)(x)
    return keras.Model(inputs, keras.layers.UnitNormalization()(x))


class Plain(keras.Model):
    """A subclassed model whose `call` knows nothing of training."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(DIM)

    def call(self, images):
        x = tf.reshape(images / 255.0, [tf.shape(images)[0], 8 * 6 * 3])
        # Keras 3 does without AutoGraph, in training too.
        if not KERAS_3 and tf.reduce_max(x) > 100.0:
            x = x / 2.0
        return tf.math.l2_normalize(self.dense(x), axis=1)


class WithVariable(keras.Model):
    """A subclassed model with a variable that Keras 3 does not count, and dropout."""

    def __init__(self):
        super().__init__()
        self.scale = tf.Variable([[0.5, 1.0, 2.0, 4.0]], trainable=False)
        self.flatten = keras.layers.Flatten()
        self.dense = keras.layers.Dense(DIM)
        self.dropout = keras.layers.Dropout(0.5)

    def call(self, images, training=None):
        x = self.dense(self.dropout(self.flatten(images / 255.0), training=training))
        return tf.math.l2_normalize(x * self.scale, axis=1)


def of_integers():
    inputs = keras.Input(SHAPE, dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Dense(DIM)(keras.layers.Flatten()(x))
    return keras.Model(inputs, keras.layers.UnitNormalization()(x))


def of_any_size():
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(5, 3)(x))
    x = keras.layers.Dense(DIM)(x)
    return keras.Model(inputs, keras.layers.UnitNormalization()(x))


def not_normalized():
    inputs = keras.Input(SHAPE)
    x = keras.layers.Dense(DIM)(keras.layers.Flatten()(inputs))
    return keras.Model(inputs, x)


def in_precision(policy):
    def build():
        keras.mixed_precision.set_global_policy(policy)
        try:
            return functional()
        finally:
            keras.mixed_precision.set_global_policy("float32")

    return build


MODELS = {
    "functional": functional,
    "sequential, never built": sequential,
    "augmenting": augmenting,
    "subclassed": Plain,
    "subclassed with a variable": WithVariable,
    "of uint8 images": of_integers,
    "of any size": of_any_size,
    "mixed_float16": in_precision("mixed_float16"),
    "mixed_bfloat16": in_precision("mixed_bfloat16"),
    "not normalized": not_normalized,
}


def images(count=5, seed=1):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *SHAPE), dtype=np.uint8)


def exported(model, folder, normalize=False, head="exact"):
    """Saves a model with a gallery of embeddings and loads it again."""
    encoder = ExportedEncoder(model, SHAPE, normalize)
    embeddings = encoder.embed(images(40, seed=2).astype(np.float32))
    gallery = make_gallery(
        {
            "embeddings": embeddings,
            "labels": np.arange(40) % 3,
            "ids": np.array([f"row {row}" for row in range(40)]),
        }
    )
    state = gallery_state(gallery, load_head(head).build(gallery.embeddings))
    module = SearchModel(
        encoder,
        encoder.weights,
        SHAPE,
        encoder.dim,
        head,
        state,
        3,
        normalize=normalize,
    )
    tf.saved_model.save(module, str(folder), signatures=module.signatures)
    check_stock_ops(folder)
    return tf.saved_model.load(str(folder)), encoder, gallery


def assert_answers_as_python(loaded, encoder, gallery):
    pixels = images()
    tolerance = 2e-2 if encoder.is_mixed else 1e-5
    expected = encoder.embed(pixels.astype(np.float32))
    found = loaded.signatures["embed"](images=tf.constant(pixels, tf.float32))
    assert found["embeddings"].dtype == tf.float32 and found["valid"].numpy().all()
    np.testing.assert_allclose(found["embeddings"], expected, atol=tolerance)
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-2)
    png = tf.constant([tf.io.encode_png(each).numpy() for each in pixels])
    searched = loaded.signatures["search_bytes"](image_bytes=png)
    best = expected @ gallery.embeddings.T
    scores = -np.sort(-best, axis=1)[:, :3]
    np.testing.assert_allclose(searched["scores"], scores, atol=2 * tolerance)


OFTEN = "subclassed with a variable", "mixed_float16"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in OFTEN else pytest.mark.slow)
        for name in MODELS
    ],
)
def test_answers_loaded_as_in_python(tmp_path, name):
    model = MODELS[name]()
    loaded, encoder, gallery = exported(model, tmp_path, name == "not normalized")
    assert encoder.is_mixed == name.startswith("mixed")
    if encoder.is_mixed:
        assert encoder.precision == f"{name[6:]} and float32"
    assert_answers_as_python(loaded, encoder, gallery)


def test_a_model_built_and_trained_under_a_strategy(tmp_path, strategy):
    with strategy.scope():
        model = functional()
        model.compile("sgd", "mse")
    before = [np.array(each) for each in model.get_weights()]
    model.fit(images(8).astype(np.float32), np.ones((8, DIM), np.float32), 4, verbose=0)
    assert any((a != b).any() for a, b in zip(before, model.get_weights()))
    loaded, encoder, gallery = exported(model, tmp_path)
    assert_answers_as_python(loaded, encoder, gallery)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["bfloat16", "ivf"])
def test_other_heads_are_searched_by_the_same_signatures(tmp_path, head):
    loaded, encoder, gallery = exported(functional(), tmp_path, head=head)
    embeddings = encoder.embed(images().astype(np.float32))
    # With every row allowed but the best, it is the exact search without that row.
    best = np.argsort(-embeddings @ gallery.embeddings.T, axis=1)
    empty = tf.fill([5, 1], "")
    found = loaded.signatures["search_filtered"](
        embeddings=tf.constant(embeddings),
        allow_ids=empty,
        exclude_ids=tf.constant(gallery.ids[best[:, :1]]),
        allow_labels=empty,
        exclude_labels=empty,
    )
    wanted = -np.sort(-embeddings @ gallery.embeddings.T, axis=1)[:, 1:4]
    tolerance = 2**-8 if head == "bfloat16" else 1e-5
    np.testing.assert_allclose(found["scores"], wanted, atol=tolerance)
    scored = loaded.signatures["score"](
        embeddings=tf.constant(embeddings), ids=tf.constant(gallery.ids[best[:, 1:4]])
    )
    np.testing.assert_allclose(scored["scores"], wanted, atol=tolerance)


class EagerOnly(keras.layers.Layer):
    """Computes in NumPy, which no graph can."""

    def call(self, images):
        pixels = images.numpy().reshape(len(images), -1)[:, :DIM]
        return tf.math.l2_normalize(tf.constant(pixels) + 1.0, axis=1)


def test_a_model_that_no_graph_can_hold_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must run in a graph.*numpy"):
        exported(EagerOnly(), tmp_path)


def test_without_unit_length_it_says_what_to_do():
    encoder = ExportedEncoder(not_normalized())
    with pytest.raises(ValueError, match="embeddings of length .*normalize=True"):
        encoder.check_unit(images().astype(np.float32))


def test_the_hash_is_of_the_weights():
    model = functional()
    first = ExportedEncoder(model).sha256()
    again = keras.models.clone_model(model)
    again.set_weights(model.get_weights())
    assert ExportedEncoder(again).sha256() == first
    again.set_weights([weight + 1 for weight in model.get_weights()])
    assert ExportedEncoder(again).sha256() != first


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((lambda x: x,), TypeError, "`encoder` must be a Keras model"),
        ((sequential,), ValueError, "Give image_shape="),
        ((sequential, (8, 6)), ValueError, "positive integers"),
        ((sequential, (8, 6, 2)), ValueError, "1 or 3 channels"),
        ((functional, (9, 9, 3)), ValueError, "must fit the encoder"),
        ((sequential, (2, 2, 3)), ValueError, "must embed images"),
    ],
)
def test_encoders_that_are_none(arguments, error, message):
    model, *rest = arguments
    made = model() if model in (sequential, functional) else model
    with pytest.raises(error, match=message):
        ExportedEncoder(made, *rest)


class SilentKernel(keras.layers.Layer):
    """Runs a convolution whose kernel takes an image smaller than its window."""

    def call(self, images):
        if tf.executing_eagerly():
            return images[:, 0, 0]
        return tf.nn.conv2d(images, tf.ones([3, 3, 3, 3]), 1, "VALID")[:, 0, 0]


def test_images_too_small_are_refused_whatever_the_kernels_say():
    ExportedEncoder(SilentKernel(), (3, 3, 3))
    with pytest.raises(ValueError, match="must embed images.*Negative dimension"):
        ExportedEncoder(SilentKernel(), (2, 2, 3))
