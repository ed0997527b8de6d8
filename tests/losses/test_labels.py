"""Labels reach the pure function in their own dtype, or are refused."""

import contracts
import numpy as np
import pytest
import tensorflow as tf
from losses.test_loss_contracts import FIRST, batch_for
from tensorflow import keras

from tfembed import compat
from tfembed.losses import (
    Histogram,
    MultiSimilarity,
    NormSoftmax,
    TemperatureSoftmax,
)

every = pytest.mark.parametrize("sample", FIRST)
BIG = 4006381333931  # above 2^24 and 2^32: neighbours are equal in float32
HALF_LIMIT = {"mixed_float16": 2048, "mixed_bfloat16": 256}


def kinds(labels):
    """Labels of the same classes, as every dtype that Keras can break."""
    return {
        "int64": BIG + labels,
        "uint64": np.uint64(2**63) + labels.astype("uint64"),
        "strings": np.array([f"class {label}" for label in labels]),
        "objects": np.array([f"class {label}" for label in labels], object),
        "bytes": np.array([f"class {label}".encode() for label in labels]),
    }


def untrained(sample_or_loss, width, **options):
    model = keras.Sequential(
        [
            keras.Input((width,)),
            keras.layers.Dense(width, kernel_initializer="identity", dtype="float32"),
        ]
    )
    model.compile(keras.optimizers.SGD(0.0), loss=sample_or_loss, **options)
    return model


def pair_samples(params=FIRST):
    return [param for param in params if not param.values[0].similarities]


@pytest.mark.parametrize("sample", pair_samples())
def test_a_direct_call_keeps_them(sample):
    labels, x, _, _ = batch_for(sample, 12, 7)
    expected = sample.oracle(labels, x, None, None).mean()
    for kind, given in kinds(labels).items():
        found = float(sample.make()(given, np.float32(x)))
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5, err_msg=kind)


WAYS = {
    "evaluate": lambda model, x, y: model.evaluate(x, y, batch_size=12, verbose=0),
    "tf.data": lambda model, x, y: model.evaluate(
        tf.data.Dataset.from_tensor_slices((x, y)).batch(12), verbose=0
    ),
    "validation_data": lambda model, x, y: model.fit(
        x, y, validation_data=(x, y), batch_size=12, verbose=0
    ).history["val_loss"][0],
    "train_on_batch": lambda model, x, y: model.train_on_batch(x, y),
}


@pytest.mark.parametrize(
    ("way", "kind"),
    [(way, kind) for way in WAYS for kind in ("int64", "objects")]
    # Keras 3 takes arrays of bytes nowhere else.
    + [("tf.data", "uint64"), ("tf.data", "bytes"), ("tf.data", "strings")],
)
def test_every_way_into_a_model_keeps_them(way, kind):
    labels, x, _, _ = batch_for(FIRST[0].values[0], 12, 7)
    x = np.float32(x)
    expected = float(MultiSimilarity()(labels, x))
    given = kinds(labels)[kind]
    found = WAYS[way](untrained(MultiSimilarity(), x.shape[1]), x, given)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("options", [{"jit_compile": True}, {"run_eagerly": True}])
def test_compiled_or_eager(options):
    labels, x, _, _ = batch_for(FIRST[0].values[0], 12, 7)
    x = np.float32(x)
    expected = float(MultiSimilarity()(labels, x))
    model = untrained(MultiSimilarity(), x.shape[1], **options)
    found = model.evaluate(x, BIG + labels, batch_size=12, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_sample_weights_and_masks_stay_those_of_keras():
    labels, x, _, _ = batch_for(FIRST[0].values[0], 12, 7)
    x, labels = np.float32(x), BIG + labels
    weights = np.float32(np.random.default_rng(0).uniform(size=12))
    rows = MultiSimilarity(reduction="none")(labels, x).numpy()
    model = untrained(MultiSimilarity(), x.shape[1])
    found = model.evaluate(x, labels, sample_weight=weights, batch_size=12, verbose=0)
    np.testing.assert_allclose(found, (rows * weights).mean(), rtol=1e-5)
    kept = np.arange(12) < 9
    masked = tf.constant(x)
    masked._keras_mask = tf.constant(kept)
    np.testing.assert_allclose(
        float(MultiSimilarity()(labels, masked)), rows[kept].mean(), rtol=1e-5
    )


@pytest.mark.parametrize("policy", HALF_LIMIT)
def test_float_labels_under_mixed_precision_are_right_or_refused(policy):
    labels, x, _, _ = batch_for(FIRST[0].values[0], 12, 7)
    x = np.float32(x)
    expected = float(MultiSimilarity()(labels, x))
    keras.mixed_precision.set_global_policy(policy)
    model = keras.Sequential([keras.Input((x.shape[1],)), keras.layers.Flatten()])
    model.compile("sgd", MultiSimilarity())

    def evaluate(first, dtype):
        given = (first + labels).astype(dtype)
        return model.evaluate(x, given, batch_size=12, verbose=0)

    limit = HALF_LIMIT[policy]
    assert abs(evaluate(2 * limit, "int64") - expected) < 0.05
    assert abs(evaluate(limit - 4, "float32") - expected) < 0.05
    if compat.KERAS_3:
        assert abs(evaluate(2 * limit, "float32") - expected) < 0.05
    else:
        with pytest.raises(tf.errors.InvalidArgumentError, match="Give|give integers"):
            evaluate(2 * limit, "float32")


@pytest.mark.parametrize(
    ("dtype", "limit"),
    [("float64", 2**53), ("float32", 2**24), ("float16", 2**11), ("bfloat16", 2**8)],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_floats_that_cannot_be_told_apart_are_refused(dtype, limit, sign):
    x = np.float32(np.random.default_rng(0).normal(size=(4, 3)))
    loss = MultiSimilarity()
    inside = tf.cast(tf.constant([0, 1, limit - 1, limit - 1], tf.int64) * sign, dtype)
    outside = tf.cast(tf.constant([0, 1, 0, limit], tf.int64) * sign, dtype)
    assert np.isfinite(loss(inside, x))
    with pytest.raises(ValueError, match=f"below {limit}.*integers or strings"):
        loss(outside, x)
    graph = tf.function(lambda labels: loss(labels, x))
    assert np.isfinite(graph(inside))
    with pytest.raises(tf.errors.InvalidArgumentError, match="integers or strings"):
        graph(outside)
    xla = tf.function(lambda labels: loss(labels, x), jit_compile=True)
    assert np.isfinite(xla(inside)) and np.isnan(xla(outside))


def test_a_class_number_that_was_rounded_is_refused():
    similarities = np.zeros((2, 4000), "float32")
    with pytest.raises(ValueError, match="integers or strings"):
        NormSoftmax()(tf.constant([1, 3001], tf.float16), similarities)


def test_soft_targets_may_be_half_floats():
    targets = np.float32([[0.2, 0.3, 0.5], [0.1, 0.2, 0.7]])
    similarities = np.float32([[1, 2, 3], [3, 2, 1]])
    expected = float(TemperatureSoftmax()(targets, similarities))
    found = TemperatureSoftmax()(tf.constant(targets, tf.float16), similarities)
    np.testing.assert_allclose(float(found), expected, rtol=1e-3)


@every
def test_one_hot_labels_get_a_sentence(sample):
    labels, x, ref_labels, refs = batch_for(sample, 10, 81)
    loss = sample.make()
    hot = np.eye(labels.max() + 1, dtype="float32")[labels]
    word = "one-hot.*argmax.*Received: .*shape"
    if isinstance(loss, TemperatureSoftmax):  # takes soft targets, of all classes
        with pytest.raises(ValueError, match="soft targets.*Received: shapes"):
            loss.per_row(hot[:, :-1], x)
        return
    with pytest.raises(ValueError, match=word):
        loss.per_row(hot, x)
    if sample.references:
        with pytest.raises(ValueError, match=word):
            loss.per_row(labels, x, np.eye(30)[ref_labels], refs)


@pytest.mark.parametrize("loss", [MultiSimilarity(), NormSoftmax(), Histogram()])
def test_one_hot_labels_of_unknown_shape_get_a_sentence(loss):
    unknown = tf.function(
        loss.per_row,
        input_signature=[
            tf.TensorSpec(None, tf.float32),
            tf.TensorSpec([None, 6], tf.float32),
        ],
    )
    x = np.float32(np.random.default_rng(0).normal(size=(4, 6)))
    assert np.isfinite(unknown(np.float32([0, 0, 1, 1]), x)).all()
    with pytest.raises(tf.errors.InvalidArgumentError, match="one-hot"):
        unknown(np.eye(4, dtype="float32"), x)


def test_one_hot_labels_from_a_folder_get_a_sentence(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        for number in range(2):
            keras.utils.save_img(
                tmp_path / name / f"{number}.png", np.full((8, 8, 3), number * 9.0)
            )
    data = keras.utils.image_dataset_from_directory(
        str(tmp_path), label_mode="categorical", image_size=(8, 8)
    )
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(4)])
    model.compile("sgd", MultiSimilarity())
    with pytest.raises(ValueError, match="one-hot.*label_mode='int'"):
        model.fit(data, verbose=0)


@pytest.mark.parametrize(
    "maker",
    [
        pytest.param(makers[0], id=layer.__name__)
        for layer, makers in {
            **contracts.ENDPOINTS,
            **contracts.LABEL_ENDPOINTS,
        }.items()
    ],
)
def test_one_hot_labels_of_a_layer_get_a_sentence(maker):
    embeddings, ids = contracts.batch()
    hot = np.eye(contracts.SIZE, dtype="int64")[ids]
    layer = contracts.built(maker)
    with pytest.raises(ValueError, match="one-hot.*Received: .*shape"):
        layer([tf.constant(embeddings), tf.constant(hot)])
