"""The endpoint layers against float64 loops, in eager and graph mode."""

import contracts
import numpy as np
import oracles
import pytest
import tensorflow as tf
from contracts import SIZE
from tensorflow import keras

import tfembed
from tfembed import compat, layers

SAMPLES = [pytest.param(maker, id=name) for name, maker in contracts.endpoint_samples()]
# A layer with a bank and one that draws: for what hardly depends on the layer.
TYPICAL = ("InstanceSoftmax-0", "NoiseContrastive-0")
BANK_SAMPLES = [
    pytest.param(maker, id=name)
    for name, maker in contracts.endpoint_samples()
    if name.startswith(("InstanceS", "NoiseContrastive"))
]


def drawn_ids(layer, rows, step=0):
    """The draw that the layer promises: stateless, from (seed, step)."""
    shape = [layer.num_negatives]
    if layer.negatives == "per_anchor":
        shape = [rows, layer.num_negatives]
    drawn = tf.random.stateless_uniform(
        shape, [layer.seed, step], maxval=SIZE, dtype=tf.int64, alg="philox"
    ).numpy()
    return np.broadcast_to(drawn, (rows, layer.num_negatives))


def expected_losses(layer, embeddings, ids, rows, z=None, step=0):
    """Each row's loss by the formula, from the state before the step."""
    if isinstance(layer, layers.Centers):
        return oracles.center_losses(embeddings, rows, ids, layer.weight)
    if isinstance(layer, layers.Margin):
        return oracles.margin_losses(
            embeddings,
            rows[ids],
            ids,
            layer.margin,
            layer.beta_weight,
            layer.mean == "active",
            layer.normalize,
        )
    t = layer.temperature
    if isinstance(layer, layers.ProxySoftmax):
        return oracles.proxy_softmax_losses(embeddings, rows, ids, t, layer.form)
    if isinstance(layer, layers.ParametricInstanceSoftmax):
        return oracles.softmax_losses(embeddings, rows, ids, t)
    proximal = oracles.proximal_losses(embeddings, rows, ids, layer.proximal)
    if isinstance(layer, layers.InstanceSimilarity):
        return proximal + oracles.similarity_losses(
            embeddings,
            rows,
            ids,
            [others[others >= 0] for others in compat.variable(layer.table).numpy()],
            t,
            layer.hard_weight,
            layer.hard,
            layer.hard_by,
            layer.hard_sign,
            layer.single,
        )
    if isinstance(layer, layers.InstanceSoftmax):
        return oracles.softmax_losses(embeddings, rows, ids, t) + proximal
    drawn = drawn_ids(layer, len(ids), step)
    if layer.objective == "infonce":
        return oracles.info_nce_losses(embeddings, rows, ids, drawn, t) + proximal
    if layer.normalizer_policy == "analytic":
        z = SIZE * np.exp(1 / (2 * contracts.DIM * t**2))
    elif isinstance(layer.normalizer_policy, float):
        z = layer.normalizer_policy
    elif z is None:
        z = oracles.nce_normalizer(embeddings, rows, ids, drawn, t)
    losses, _ = oracles.nce_losses(embeddings, rows, ids, drawn, t, z)
    return losses + proximal


def state(layer):
    if isinstance(layer, layers.ParametricInstanceSoftmax):
        return compat.variable(layer.instance_weights)
    for name in ("centers", "boundaries", "proxies"):
        if hasattr(layer, name):
            return compat.variable(getattr(layer, name))
    return layer.bank.variable


def step(layer, run, embeddings, ids, training=True):
    """One call: its loss, and the loss's gradient."""

    def function(embeddings):
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            layer([embeddings, tf.constant(ids)], training=training)
            loss = tf.add_n(layer.losses)
        return loss, tape.gradient(loss, embeddings)

    loss, gradient = run(function, tf.constant(embeddings))
    return float(loss), gradient.numpy()


@pytest.mark.thin(3)
@pytest.mark.parametrize("maker", SAMPLES)
@pytest.mark.parametrize("seed", [0, 1])
def test_loss_and_gradient_equal_the_formula(maker, run, seed):
    layer = contracts.built(maker)
    embeddings, ids = contracts.batch(seed=seed)
    rows = state(layer).numpy()
    z = None
    if getattr(layer, "objective", "") == "nce":
        drawn = drawn_ids(layer, len(ids))
        z = oracles.nce_normalizer(embeddings, rows, ids, drawn, layer.temperature)

    def mean_loss(x):
        return expected_losses(layer, x, ids, rows, z).mean()

    loss, gradient = step(layer, run, embeddings, ids)
    assert loss == pytest.approx(mean_loss(embeddings), rel=2e-5)
    numeric = oracles.numeric_gradient(mean_loss, np.float64(embeddings))
    np.testing.assert_allclose(gradient, numeric, rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("maker", BANK_SAMPLES)
def test_training_updates_the_rows_of_the_batch_alone(maker, run):
    layer = contracts.built(maker)
    embeddings, ids = contracts.batch()
    before = layer.bank.variable.numpy()
    step(layer, run, embeddings, ids)
    after = layer.bank.variable.numpy()
    expected = oracles.updated_bank(before, embeddings, ids, layer.momentum)
    others = np.setdiff1d(np.arange(SIZE), ids)
    np.testing.assert_allclose(after[ids], expected[ids], atol=1e-6)
    np.testing.assert_array_equal(after[others], before[others])
    np.testing.assert_allclose(np.linalg.norm(after[ids], axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("maker", contracts.frame_samples())
def test_inference_adds_a_loss_and_changes_nothing(maker, run):
    layer = contracts.built(maker)
    embeddings, ids = contracts.batch()
    before = layer.get_weights()
    loss, _ = step(layer, run, embeddings, ids, training=False)
    assert loss == pytest.approx(
        expected_losses(layer, embeddings, ids, state(layer).numpy()).mean(), rel=2e-5
    )
    for old, new in zip(before, layer.get_weights()):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("policy", ["moving_average", "first_batch"])
def test_normalizer_over_steps(policy, run):
    layer = contracts.built(
        lambda: layers.NoiseContrastive(
            SIZE, 7, temperature=0.3, seed=5, normalizer=policy
        )
    )
    z = None
    for number in range(4):
        embeddings, ids = contracts.batch(seed=number)
        rows = layer.bank.variable.numpy()
        drawn = drawn_ids(layer, len(ids), number)
        measured = oracles.nce_normalizer(embeddings, rows, ids, drawn, 0.3)
        if z is None:
            z = measured
        elif policy == "moving_average":
            z = 0.99 * z + 0.01 * measured
        losses, posterior = oracles.nce_losses(embeddings, rows, ids, drawn, 0.3, z)
        loss, _ = step(layer, run, embeddings, ids)
        assert loss == pytest.approx(losses.mean(), rel=5e-5)
        assert layer.normalizer == pytest.approx(z, rel=1e-4)
        assert layer.noise_posterior == pytest.approx(posterior, rel=1e-3)


def test_uninformed_nce_loss_is_the_known_number():
    """If every p is 1 / size, the loss is log(1 + m) + m log(1 + 1 / m)."""
    m = 16
    layer = layers.NoiseContrastive(SIZE, m, temperature=1.0, normalizer=float(SIZE))
    zeros = np.zeros((3, contracts.DIM), "float32")
    layer([zeros, np.arange(3)], training=False)
    expected = np.log(1 + m) + m * np.log(1 + 1 / m)
    assert float(layer.losses[0]) == pytest.approx(expected, rel=1e-6)


def test_draws_change_from_step_to_step_and_repeat_with_the_seed():
    def draws(seed):
        layer = contracts.built(lambda: layers.NoiseContrastive(SIZE, 50, seed=seed))
        found = []
        for number in range(3):
            found.append(layer._draw(4).numpy())
            layer([*contracts.batch(seed=number)], training=True)
        return found

    first, again, other = draws(1), draws(1), draws(2)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first[0], first[1])
    counts = np.bincount(np.concatenate(first), minlength=SIZE)
    assert np.count_nonzero(counts) == SIZE  # 150 draws of 24 rows


@pytest.mark.parametrize("maker", SAMPLES)
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_the_loss_and_the_bank_in_float32(maker, policy):
    embeddings, ids = contracts.batch()
    half = tf.cast(embeddings, policy.replace("mixed_", ""))
    keras.mixed_precision.set_global_policy(policy)
    layer = contracts.built(maker)
    rows = state(layer).numpy()
    outputs = layer([half, ids], training=True)
    assert outputs.dtype == half.dtype
    assert layer.losses[0].dtype == tf.float32
    expected = expected_losses(layer, tf.cast(half, tf.float32).numpy(), ids, rows)
    assert float(layer.losses[0]) == pytest.approx(expected.mean(), rel=2e-5)
    assert state(layer).dtype == tf.float32
    # float32 embeddings are not rounded on their way in.
    layer = contracts.built(maker)
    rows = state(layer).numpy()
    layer([tf.constant(embeddings), ids], training=False)
    expected = expected_losses(layer, embeddings, ids, rows)
    assert float(layer.losses[0]) == pytest.approx(expected.mean(), rel=2e-5)


@pytest.mark.thin(3)
@pytest.mark.parametrize("maker", SAMPLES)
@pytest.mark.parametrize("bad", [-1, SIZE])
def test_an_id_out_of_range_raises_and_writes_nothing(maker, bad, run):
    layer = contracts.built(maker)
    embeddings, ids = contracts.batch()
    ids[4] = bad
    before = layer.get_weights()
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"must lie in \[0, 24\)"):
        step(layer, run, embeddings, ids)
    for old, new in zip(before, layer.get_weights()):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("maker", contracts.frame_samples())
def test_xla_gives_the_same_and_nan_for_an_id_out_of_range(maker):
    plain, compiled = contracts.built(maker), contracts.built(maker)
    compiled.set_weights(plain.get_weights())
    if hasattr(plain, "seed"):
        compiled.seed = plain.seed
    embeddings, ids = contracts.batch()

    def loss_of(layer):
        def function(embeddings, ids):
            layer([embeddings, ids], training=True)
            return tf.add_n(layer.losses)

        return function

    expected = loss_of(plain)(tf.constant(embeddings), tf.constant(ids))
    function = tf.function(loss_of(compiled), jit_compile=True)
    found = function(tf.constant(embeddings), tf.constant(ids))
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
    np.testing.assert_allclose(state(compiled), state(plain), atol=1e-6)
    before = state(compiled).numpy()
    ids[4] = SIZE
    assert np.isnan(float(function(tf.constant(embeddings), tf.constant(ids))))
    np.testing.assert_array_equal(state(compiled).numpy(), before)


def test_float_ids_are_refused():
    with pytest.raises(TypeError, match="Instance ids must be integers"):
        layers.InstanceSoftmax(8)([np.ones((2, 3), "float32"), np.ones(2)])
    with pytest.raises(TypeError, match="Instance ids must be integers"):
        layers.InstanceSoftmax(8)([keras.Input((3,)), keras.Input(())])


def test_ids_above_2_to_the_24_stay_apart():
    size = 2**24 + 4
    layer = layers.InstanceSoftmax(size, momentum=0.0)
    embeddings = np.float32([[0.6, 0.8], [0.8, -0.6]])
    ids = np.array([2**24 + 1, 2**24 + 3])
    images, id_input = keras.Input((2,)), keras.Input((), dtype="int64")
    model = keras.Model([images, id_input], layer([images, id_input]))
    model.compile("sgd")
    data = tf.data.Dataset.from_tensors((embeddings, ids)).map(lambda x, i: ((x, i),))
    model.fit(data, verbose=0)
    np.testing.assert_allclose(layer.bank.read(ids), embeddings, atol=1e-6)


def fit(model, steps=3):
    for number in range(steps):
        embeddings, ids = contracts.batch(seed=number)
        data = tf.data.Dataset.from_tensors((embeddings, ids))
        model.fit(data.map(lambda x, i: ((x, i),)), verbose=0)


def small_model(maker):
    images = keras.Input((contracts.DIM,))
    ids = keras.Input((), dtype="int64")
    embeddings = keras.layers.Dense(contracts.DIM)(images)
    embeddings = layers.UnitNorm()(embeddings)
    model = keras.Model([images, ids], maker()([embeddings, ids]))
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    return model


@pytest.mark.parametrize(
    ("maker", "way"),
    [
        pytest.param(
            *sample.values,
            way,
            id=f"{sample.id}-{way}",
            marks=sample.marks if way == ".keras" else slow,
        )
        for sample in contracts.frame_samples()
        for way, slow in [
            (".keras", []),
            (".weights.h5", [] if sample.id in TYPICAL else pytest.mark.slow),
            ("checkpoint", [] if sample.id in TYPICAL else pytest.mark.slow),
        ]
    ],
)
def test_state_survives_saving(maker, way, tmp_path):
    model = small_model(maker)
    fit(model)
    if way == ".keras":
        model.save(tmp_path / "model.keras")
        restored = tfembed.load_model(tmp_path / "model.keras")
    else:
        restored = small_model(maker)
        layer, other = model.layers[-1], restored.layers[-1]
        if hasattr(layer, "seed"):
            other.seed = layer.seed
        fit(restored, steps=1)
        if way == "checkpoint":
            path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(
                str(tmp_path / "checkpoint")
            )
            tf.train.Checkpoint(model=restored, optimizer=restored.optimizer).read(
                path
            ).assert_consumed()
        else:
            model.save_weights(tmp_path / f"model{way}")
            restored.load_weights(tmp_path / f"model{way}")
    for old, new in zip(model.get_weights(), restored.get_weights()):
        np.testing.assert_array_equal(old, new)
    assert len(model.get_weights()) == len(restored.get_weights()) > 2
    if way != ".weights.h5":  # which leave the optimizer out
        fit(model)
        fit(restored)
        for old, new in zip(model.get_weights(), restored.get_weights()):
            np.testing.assert_allclose(old, new, atol=1e-6)


@pytest.mark.parametrize(
    "maker",
    [
        sample
        if sample.id in TYPICAL
        else pytest.param(*sample.values, id=sample.id, marks=pytest.mark.slow)
        for sample in contracts.frame_samples()
    ],
)
def test_savedmodel_of_the_whole_model(maker, tmp_path):
    model = small_model(maker)
    fit(model)
    embeddings, ids = contracts.batch()

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.model = model
            self.held = [compat.variable(weight) for weight in model.weights]

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, contracts.DIM]),
                tf.TensorSpec([None], tf.int64),
            ]
        )
        def embed(self, images, ids):
            return {"embeddings": self.model([images, ids], training=False)}

    module = Module()
    tf.saved_model.save(module, str(tmp_path), {"embed": module.embed})
    loaded = tf.saved_model.load(str(tmp_path))
    found = loaded.signatures["embed"](
        images=tf.constant(embeddings), ids=tf.constant(ids)
    )["embeddings"]
    np.testing.assert_allclose(found, model([embeddings, ids]), atol=1e-6)


def test_an_encoder_cut_out_of_the_model_leaves_the_bank_behind():
    model = small_model(lambda: layers.InstanceSoftmax(SIZE))
    (unit,) = [each for each in model.layers if isinstance(each, layers.UnitNorm)]
    encoder = keras.Model(model.inputs[0], unit.output)
    assert len(encoder.weights) == 2
    assert len(model.weights) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "`size` must be"),
        ({"temperature": 0.0}, "`temperature` must be a positive number"),
        ({"momentum": 1.0}, "`momentum` must be"),
        ({"proximal": -1.0}, "`proximal` must be"),
        ({"initializer": "zeros"}, "`initializer` must be one of"),
        ({"num_negatives": 0}, "`num_negatives` must be"),
        ({"negatives": "all"}, "`negatives` must be one of"),
        ({"normalizer": "none"}, "`normalizer` must be one of"),
        ({"normalizer": -1.0}, "`normalizer` must be one of"),
        ({"objective": "softmax"}, "`objective` must be one of"),
    ],
)
def test_bad_arguments_get_a_sentence(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        layers.NoiseContrastive(**{"size": 8, **arguments})
    assert "Received" in str(error.value)


def test_embeddings_of_unknown_length_are_refused():
    layer = layers.InstanceSoftmax(8)
    with pytest.raises(ValueError, match="must be `\\[embeddings, ids\\]`"):
        layer.build([tf.TensorShape([None, None]), tf.TensorShape([None])])


def test_a_batch_of_no_rows_has_no_loss():
    for _, maker in contracts.endpoint_samples():
        layer = contracts.built(maker)
        layer([np.zeros((0, contracts.DIM), "float32"), np.zeros(0, "int64")])
        assert float(layer.losses[0]) == 0.0
