"""What every public loss must satisfy; see `tests/loss_sample.py`."""

import functools
import inspect

import contracts
import numpy as np
import pytest
import tensorflow as tf
from oracles import numeric_gradient
from tensorflow import keras

DIM = 6
SLOW = pytest.mark.slow
SAMPLES = [
    pytest.param(sample, id="-".join(filter(None, [loss.__name__, sample.name])))
    for loss, samples in contracts.LOSSES.items()
    for sample in samples
]
every = pytest.mark.parametrize("sample", SAMPLES)
# One setting of each loss, for what hardly depends on the setting.
FIRST = [
    param
    for param in SAMPLES
    if any(param.values[0] is samples[0] for samples in contracts.LOSSES.values())
]
# All settings, but the further ones of a loss among the slow tests only.
SLOWLY = [
    param if param in FIRST else pytest.param(*param.values, id=param.id, marks=SLOW)
    for param in SAMPLES
]
slowly = pytest.mark.parametrize("sample", SLOWLY)


def only(condition, params=SAMPLES):
    kept = [param for param in params if condition(param.values[0])]
    return pytest.mark.parametrize("sample", kept)


def labels_for(sample, rows, rng, classes=4):
    if sample.similarities:
        return rng.integers(0, sample.classes or sample.similarities, rows)
    if sample.two_views:
        assert rows % 2 == 0
        return rng.permutation(np.repeat(np.arange(rows // 2), 2))
    return rng.integers(0, classes, rows)


def batch_for(sample, rows, seed, length=1.0, classes=4, dim=DIM):
    """Labels, embeddings (or similarities) float64, and references."""
    rng = np.random.default_rng(seed)
    labels = labels_for(sample, rows, rng, classes)
    if sample.similarities:
        return labels, rng.uniform(-0.9, 0.9, (rows, sample.similarities)), None, None
    x = rng.normal(size=(rows, dim)) * length / np.sqrt(dim)
    refs = rng.normal(size=(rows + 3, dim)) * length / np.sqrt(dim)
    return labels, x, labels_for(sample, rows + 4, rng, classes)[: rows + 3], refs


def value_and_gradient(loss, labels, x, weights=None, jit=None):
    """Per-row losses, and the gradient of their weighted sum."""

    def both(labels, x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            rows = loss.per_row(labels, x)
            total = tf.reduce_sum(rows * (1.0 if weights is None else weights))
        gradient = tape.gradient(
            total, x, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        return rows, gradient

    if jit is not None:
        both = tf.function(both, jit_compile=jit)
    rows, gradient = both(tf.constant(labels), tf.constant(x))
    return rows.numpy(), gradient.numpy()


@pytest.mark.parametrize(
    ("seed", "sample"),
    [
        pytest.param(seed, *param.values, id=f"{param.id}-{seed}", marks=param.marks)
        for seed, params in ((0, SAMPLES), (1, SLOWLY), (2, SLOWLY))
        for param in params
    ],
)
def test_equals_the_formula(sample, seed):
    rows = (8, 12, 20)[seed]
    labels, x, ref_labels, refs = batch_for(sample, rows, seed, (1.0, 1.0, 2.5)[seed])
    loss = sample.make()
    expected = (
        sample.oracle(labels, x)
        if sample.similarities
        else sample.oracle(labels, x, None, None)
    )
    assert expected.shape == (rows,)
    np.testing.assert_allclose(loss.per_row(labels, x), expected, rtol=1e-8, atol=1e-10)
    single = loss.per_row(labels, np.float32(x))
    assert single.dtype == tf.float32 and single.shape == (rows,)
    np.testing.assert_allclose(single, expected, rtol=2e-4, atol=2e-5)
    if sample.references:
        np.testing.assert_allclose(
            loss.per_row(labels, x, ref_labels, refs),
            sample.oracle(labels, x, ref_labels, refs),
            rtol=1e-8,
            atol=1e-10,
        )


# Who has positives and negatives: the values, and above all the gradients, of rows that
# have none.
PATTERNS = {
    "as drawn": lambda rng: rng.integers(0, 3, 6),
    "lone rows": lambda rng: rng.permutation([0, 0, 1, 1, 2, 3]),
    "one lone row": lambda rng: rng.permutation([0, 0, 1, 1, 2]),
    "one class": lambda rng: np.zeros(5, int),
    "all alone": lambda rng: rng.permutation(5),
    "one positive each": lambda rng: rng.permutation([0, 0, 1, 1, 2, 2]),
}


def patterns_for(sample):
    """`(name, labels, x)` of every pattern that the loss takes."""
    rng = np.random.default_rng(5)
    for name, draw in PATTERNS.items():
        labels = draw(rng)
        if sample.two_views and name != "one positive each":
            continue
        if sample.similarities:
            labels = labels % (sample.classes or sample.similarities)
            yield (
                name,
                labels,
                rng.uniform(-0.9, 0.9, (len(labels), sample.similarities)),
            )
        else:
            yield name, labels, rng.normal(size=(len(labels), 4)) * 0.6


@every
def test_gradient_is_the_formula_s_whoever_has_positives(sample):
    more = () if sample.similarities else (None, None)
    variants = [{}]
    if getattr(sample.make(), "normalize", True) is False:
        variants.append({"normalize": True})
    for name, labels, x in patterns_for(sample):
        weights = np.random.default_rng(1).uniform(0.5, 1.5, len(x))
        for given in variants if sample.smooth else ():
            _, gradient = value_and_gradient(sample.make(**given), labels, x, weights)
            formula = functools.partial(
                _weighted, sample, labels, weights, normalize=bool(given)
            )
            np.testing.assert_allclose(
                gradient,
                numeric_gradient(formula, x),
                rtol=5e-5,
                atol=2e-6,
                err_msg=f"{name}, {given}",
            )
        if sample.smooth:
            continue
        # A row that is 0 here and around has no gradient, whatever counts as constant.
        nudges = np.random.default_rng(2).normal(size=(2, *x.shape)) * 1e-3
        around = [sample.oracle(labels, x + nudge, *more) for nudge in (0, *nudges)]
        idle = np.all(np.equal(around, 0), axis=0)
        rows, gradient = value_and_gradient(sample.make(), labels, x, np.float64(idle))
        assert not np.any(rows[idle]) and not np.any(gradient), name


def _weighted(sample, labels, weights, x, normalize):
    if normalize:
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
    more = () if sample.similarities else (None, None)
    return np.sum(weights * sample.oracle(labels, x, *more))


DEGENERATE = {
    "no positives": lambda rng: (np.arange(6), rng.normal(size=(6, DIM))),
    "no negatives": lambda rng: (np.zeros(6, int), rng.normal(size=(6, DIM))),
    "one row": lambda rng: (np.zeros(1, int), rng.normal(size=(1, DIM))),
    "empty batch": lambda rng: (np.zeros(0, int), np.zeros((0, DIM))),
    "identical rows": lambda rng: (
        np.array([0, 0, 1, 1, 2, 2]),
        np.repeat(rng.normal(size=(1, DIM)), 6, axis=0),
    ),
    "opposite rows": lambda rng: (
        np.array([0, 0, 1, 1, 2, 2]),
        np.array([1, -1, 1, -1, 1, -1])[:, None] * np.ones((6, DIM)) / DIM**0.5,
    ),
    "length 0": lambda rng: (np.array([0, 0, 1, 1]), np.zeros((4, DIM))),
    "length 1e4": lambda rng: (
        np.array([0, 0, 1, 1, 2, 2]),
        1e4 * np.eye(6)[:, :DIM] + rng.normal(size=(6, DIM)),
    ),
}


TIED = ("identical rows", "opposite rows", "length 0")


@only(lambda sample: not sample.similarities, SLOWLY)
@pytest.mark.parametrize("case", DEGENERATE)
@pytest.mark.parametrize(
    "dtypes",
    [
        (tf.float64, tf.float16),
        pytest.param((tf.float32, tf.bfloat16), marks=SLOW),
    ],
    ids=["float64-float16", "float32-bfloat16"],
)
def test_degenerate_batches(sample, case, dtypes):
    labels, x = DEGENERATE[case](np.random.default_rng(3))
    if sample.two_views:
        if case in ("no positives", "no negatives", "one row"):
            pytest.skip("every label comes twice")
    expected = sample.oracle(labels, x, None, None)
    for dtype in dtypes:
        rounded = tf.cast(x, dtype)
        rows, gradient = value_and_gradient(sample.make(), labels, rounded)
        assert np.isfinite(rows).all(), dtype
        assert np.isfinite(np.float64(gradient)).all(), dtype
        if not np.any(expected):
            assert not np.any(rows), dtype
            assert not np.any(gradient), dtype
        elif not sample.ties and case in TIED:
            continue  # which of the equal ones is taken is left open
        elif dtype == tf.float64:
            np.testing.assert_allclose(rows, expected, rtol=1e-6, atol=1e-6)
        elif dtype == tf.float32 and case != "length 1e4":
            np.testing.assert_allclose(rows, expected, rtol=2e-3, atol=2e-3)


@pytest.mark.thin(2)
@only(lambda sample: sample.similarities, SLOWLY)
@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
def test_similarities_at_the_ends(sample, value):
    labels = np.arange(6) % (sample.classes or sample.similarities)
    x = np.full((6, sample.similarities), value)
    expected = sample.oracle(labels, x)
    for dtype in (tf.float64, tf.float32, tf.bfloat16, tf.float16):
        rows, gradient = value_and_gradient(sample.make(), labels, tf.cast(x, dtype))
        assert np.isfinite(rows).all() and np.isfinite(np.float64(gradient)).all()
        if dtype == tf.float64:
            np.testing.assert_allclose(rows, expected, rtol=1e-6, atol=1e-6)
    empty, gradient = value_and_gradient(sample.make(), labels[:0], np.float32(x[:0]))
    assert empty.shape == (0,) and gradient.shape == (0, sample.similarities)


@pytest.mark.parametrize(
    ("sample", "first"),
    [
        pytest.param(*param.values, 7, id=f"{param.id}-uneven", marks=param.marks)
        for param in SLOWLY
    ]
    + [
        pytest.param(*param.values, first, id=f"{param.id}-{name}", marks=SLOW)
        for first, name in ((5, "even"), (10, "none on one"))
        for param in FIRST
    ],
)
def test_two_replicas_equal_one(sample, first, strategy):
    labels, x, _, _ = batch_for(sample, 10, 11)
    x = np.float32(x)
    loss = sample.make()
    parts = [slice(0, first), slice(first, 10)]

    def place(array):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(array[parts[context.replica_id_in_sync_group]])
        )

    @tf.function
    def step(labels, x):
        return strategy.run(
            lambda labels, x: _rows_and_gradient(loss, labels, x), (labels, x)
        )

    rows, gradient = step(place(labels), place(x))
    rows = np.concatenate(strategy.experimental_local_results(rows))
    gradient = np.concatenate(strategy.experimental_local_results(gradient))
    one_rows, one_gradient = value_and_gradient(loss, labels, x)
    np.testing.assert_allclose(rows, one_rows, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradient, one_gradient, rtol=1e-3, atol=2e-5)


def _rows_and_gradient(loss, labels, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        rows = loss.per_row(labels, x)
        total = tf.reduce_sum(rows)
    return rows, tape.gradient(total, x)


@slowly
def test_eager_equals_graph_equals_xla(sample):
    labels, x, _, _ = batch_for(sample, 12, 21)
    x = np.float32(x)
    loss = sample.make()
    eager = value_and_gradient(loss, labels, x)
    compilers = [False, True] if sample.xla else [False]
    for jit in compilers:
        for one, other in zip(value_and_gradient(loss, labels, x, jit=jit), eager):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize(
    ("sample", "chunk"),
    [
        pytest.param(*param.values, chunk, id=f"{param.id}-{chunk}", marks=param.marks)
        for chunk, params in ((5, SLOWLY), (64, SLOWLY[:1]))
        for param in params
        if param.values[0].chunks
    ],
)
def test_row_chunks_change_nothing(sample, chunk):
    labels, x, ref_labels, refs = batch_for(sample, 12, 31)
    whole, chunked = sample.make(), sample.make(row_chunk=chunk)
    expected = value_and_gradient(whole, labels, x)
    for jit in (None, False):
        found = value_and_gradient(chunked, labels, x, jit=jit)
        for one, other in zip(found, expected):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)
    if sample.references:
        np.testing.assert_allclose(
            chunked.per_row(labels, x, ref_labels, refs),
            whole.per_row(labels, x, ref_labels, refs),
            rtol=1e-9,
        )


@slowly
def test_labels_of_every_shape_and_dtype(sample):
    labels, x, _, _ = batch_for(sample, 12, 41)
    loss = sample.make()
    expected = loss.per_row(labels, x).numpy()
    kinds = [labels[:, None], labels.astype("int32"), labels.astype("float32")]
    if not sample.similarities:
        kinds.append(np.array([f"class {label}" for label in labels]))
    for kind in kinds:
        np.testing.assert_allclose(loss.per_row(kind, x), expected, rtol=1e-12)


@slowly
def test_order_of_the_rows_does_not_matter(sample):
    labels, x, _, _ = batch_for(sample, 12, 51)
    order = np.random.default_rng(0).permutation(12)
    if sample.in_order:
        for label in labels:
            where = labels[order] == label
            order[where] = np.sort(order[where])
    loss = sample.make()
    expected = value_and_gradient(loss, labels, x)
    for one, other in zip(value_and_gradient(loss, labels[order], x[order]), expected):
        np.testing.assert_allclose(one, other[order], rtol=1e-9, atol=1e-11)


@slowly
def test_reductions_and_sample_weights(sample):
    labels, x, _, _ = batch_for(sample, 10, 61)
    x = np.float32(x)
    weights = np.float32(np.random.default_rng(0).uniform(size=10))
    rows = sample.make().per_row(labels, x).numpy()

    def reduced(how, weight=None):
        return sample.make(reduction=how)(labels, x, sample_weight=weight).numpy()

    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(reduced("none"), rows, **close)
    np.testing.assert_allclose(reduced("sum"), rows.sum(), **close)
    np.testing.assert_allclose(reduced("sum_over_batch_size"), rows.mean(), **close)
    np.testing.assert_allclose(reduced("none", weights), rows * weights, **close)
    np.testing.assert_allclose(reduced("sum", weights), (rows * weights).sum(), **close)
    np.testing.assert_allclose(
        reduced("sum_over_batch_size", weights), (rows * weights).mean(), **close
    )
    with pytest.raises(ValueError, match="sum_over_batch_size"):
        sample.make(reduction="median")


@every
def test_config_round_trip(sample):
    loss = sample.make()
    config = loss.get_config()
    arguments = set(inspect.signature(type(loss).__init__).parameters) - {"self"}
    assert arguments <= set(config), "an argument is missing in the config"
    copy = type(loss).from_config(config)
    assert copy.get_config() == config
    wire = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(wire) is type(loss) and wire.get_config() == config
    name = f"tfembed>{type(loss).__name__}"
    assert keras.utils.get_registered_object(name) is type(loss)


@pytest.mark.parametrize("sample", FIRST)
def test_compiled_model_round_trip(sample, tmp_path):
    labels, x, _, _ = batch_for(sample, 10, 71)
    x = np.float32(x)
    given = labels if sample.similarities else labels + 2**42  # equal in float32
    model = keras.Sequential(
        [keras.Input((x.shape[1],)), keras.layers.Dense(x.shape[1])]
    )
    model.compile(keras.optimizers.SGD(0.01), loss=sample.make())
    expected = sample.make()(labels, model(x))
    shuffle = not sample.in_order
    history = model.fit(x, given, 10, epochs=1, verbose=0, shuffle=shuffle).history
    np.testing.assert_allclose(history["loss"], [expected], rtol=1e-4, atol=1e-6)
    assert np.isfinite(model.get_weights()[0]).all()
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert copy.loss.get_config() == model.loss.get_config()
    ends = [each.loss(given, each(x)) for each in (model, copy)]
    np.testing.assert_allclose(*ends, rtol=1e-6)


@every
def test_bad_input_gets_a_sentence(sample):
    labels, x, ref_labels, refs = batch_for(sample, 10, 81)
    loss = sample.make()
    with pytest.raises(ValueError, match="Received"):
        loss.per_row(labels, x[:, :, None])
    with pytest.raises(ValueError, match="Received"):
        loss.per_row(labels[:7], x)
    for arguments, word in sample.refused:
        with pytest.raises(ValueError, match=word) as error:
            sample.make(**arguments).per_row(labels, x)
        assert "Received" in str(error.value)
    if sample.similarities:
        return
    if sample.references:
        with pytest.raises(ValueError, match="ref_labels"):
            loss.per_row(labels, x, None, refs)
        with pytest.raises(ValueError, match="ref_embeddings"):
            loss.per_row(labels, x, ref_labels, refs[:, :-1])
    else:
        with pytest.raises(ValueError, match="references"):
            loss.per_row(labels, x, ref_labels, refs)


def numbers_of(make):
    """Names of a class's arguments that are numbers by default."""
    return [
        parameter.name
        for parameter in inspect.signature(make).parameters.values()
        if type(parameter.default) in (int, float) or parameter.name == "row_chunk"
    ]


@pytest.mark.parametrize("loss", list(contracts.LOSSES), ids=lambda x: x.__name__)
def test_numbers_are_checked_when_the_loss_is_made(loss):
    for name in numbers_of(loss):
        for wrong in (float("nan"), "3", [1.0], True):
            with pytest.raises((TypeError, ValueError), match=f"`{name}` must be"):
                loss(**{name: wrong})
            with pytest.raises((TypeError, ValueError), match=f"`{name}` must be"):
                loss.function([0, 0, 1, 1], np.eye(4), **{name: wrong})


@pytest.mark.parametrize("loss", list(contracts.LOSSES), ids=lambda x: x.__name__)
def test_docstrings(loss):
    from tfembed import losses

    assert getattr(losses, loss.function.__name__) is loss.function
    for part in ("Args:", "Returns:", "Reference:", "valid term"):
        assert part in loss.function.__doc__, part
    assert ">>>" in loss.__doc__
    parameters = inspect.signature(loss.function).parameters
    of_class = inspect.signature(loss.__init__).parameters
    own, given = set(parameters), set(of_class) - {"self"}
    for name in own & given:
        assert parameters[name].default == of_class[name].default, name
    frame = {"labels", "embeddings", "similarities", "ref_labels", "ref_embeddings"}
    assert own - frame == given - {"reduction", "name"}
    assert loss.ignore_label is None
    for argument in own:
        assert argument in loss.function.__doc__
