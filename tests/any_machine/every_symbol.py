"""Gives zero rows to everything of tfembed that takes rows, in traced graphs.

    PYTHONPATH=.:tests python tests/any_machine/every_symbol.py [--after NAME]

A process of its own, which TensorFlow may end: for each case a line `NAME ...` before,
and `NAME: held`, or `NAME: what is wrong`, after it. No product and no network may be
run on nothing: all that TensorFlow has of them are behind an assertion here, so that
this shows also where the kernels of this processor do as they should.
"""

import functools
import sys
import traceback

import contracts
import numpy as np
import tensorflow as tf
from contracts import DIM, LOSSES
from tensorflow import keras
from tensorflow.python.ops import gen_linalg_ops, gen_math_ops, gen_nn_ops

from tfembed import compat, layers, losses, metrics, miners
from tfembed.export.encoder import ExportedEncoder
from tfembed.export.gallery_state import gallery_state
from tfembed.export.heads import HEADS, load_head
from tfembed.export.run_directory import Gallery
from tfembed.export.search_model import SearchModel
from tfembed.ops.pairs import Similarities

PRODUCTS = {
    gen_math_ops: ["mat_mul", "batch_mat_mul", "batch_mat_mul_v2", "batch_mat_mul_v3"],
    gen_linalg_ops: ["einsum"],
}
NETWORK_OPS = {
    gen_nn_ops: [
        "avg_pool",
        "conv2d",
        "conv2d_backprop_filter",
        "conv2d_backprop_input",
        "depthwise_conv2d_native",
        "fused_batch_norm_v3",
        "max_pool",
        "max_pool_grad",
    ]
}
CASES = {}


def guard():
    """Puts every product and every op of a network behind an assertion."""
    for modules, most in ((PRODUCTS, None), (NETWORK_OPS, 1)):
        for module, names in modules.items():
            for name in filter(functools.partial(hasattr, module), names):
                setattr(module, name, _guarded(getattr(module, name), name, most))


def _guarded(function, name, most):
    @functools.wraps(function)
    def call(*arguments, **named):
        given = tf.nest.flatten([*arguments, *named.values()])
        floats = [x for x in given if _is_float(x)][:most]
        asserted = [
            tf.debugging.Assert(tf.size(x) > 0, [f"{name} of nothing:", tf.shape(x)])
            for x in floats
        ]
        with tf.control_dependencies([x for x in asserted if x is not None]):
            return function(*arguments, **named)

    return call


def _is_float(value):
    # (A variable of Keras 3 says its dtype as a string.)
    return tf.is_tensor(value) and tf.as_dtype(value.dtype).is_floating


def case(name):
    """Adds a case: a function that raises where something is wrong."""

    def add(function):
        assert name not in CASES, name
        CASES[name] = function
        return function

    return add


def check(holds, what):
    """Raises unless something holds."""
    if not holds:
        raise AssertionError(what)


def rows(width=DIM):
    """The spec of a dynamic batch."""
    return tf.TensorSpec([None, width], tf.float32)


LABELS = tf.TensorSpec([None], tf.int64)


def nothing(spec):
    """No rows of a spec; other dimensions that are open are 2."""
    return tf.zeros([0, *[size or 2 for size in spec.shape[1:]]], spec.dtype)


def ask(function, *specs):
    """What a function of a dynamic batch says of no rows, in a graph."""
    traced = tf.function(function, input_signature=specs, autograph=False)
    return traced(*[nothing(spec) for spec in specs])


def with_gradient(function):
    """Returns the outputs of a function, and the gradient to its last argument."""

    def both(*arguments):
        with tf.GradientTape() as tape:
            tape.watch(arguments[-1])
            outputs = function(*arguments)
            total = tf.add_n([tf.reduce_sum(x) for x in tf.nest.flatten(outputs)])
        return outputs, tape.gradient(total, arguments[-1])

    return both


def _loss(sample, **options):
    loss = sample.make(**options)
    width = sample.similarities or DIM
    values, gradient = ask(with_gradient(loss.per_row), LABELS, rows(width))
    check(values.shape == (0,), f"losses of shape {values.shape}")
    check(gradient.shape == (0, width), f"a gradient of shape {gradient.shape}")
    value = float(loss(nothing(LABELS), nothing(rows(width))))  # as Keras reduces it
    check(value == 0, f"the batch's loss is {value}")
    if sample.references:
        _references(loss)


def _references(loss):
    """Against references that are none, and none against some."""
    some = tf.random.stateless_normal([3, DIM], [1, 2])
    numbers = tf.constant([0, 0, 1], tf.int64)
    values, gradient = ask(
        with_gradient(lambda labels, refs: loss.per_row(numbers, some, labels, refs)),
        LABELS,
        rows(),
    )
    finite = np.isfinite(values).all()
    check(values.shape == (3,) and finite, f"against nothing {values}")
    check(gradient.shape == (0, DIM), f"of no references {gradient.shape}")
    values, gradient = ask(
        with_gradient(lambda labels, x: loss.per_row(labels, x, numbers, some)),
        LABELS,
        rows(),
    )
    check(values.shape == (0,) and gradient.shape == (0, DIM), "of nothing, something")


for _kind, _samples in LOSSES.items():  # further settings: tests/losses
    _name = f"losses.{_kind.__name__}"
    CASES[_name] = functools.partial(_loss, _samples[0])
    if _samples[0].chunks:
        CASES[f"{_name}-in blocks"] = functools.partial(_loss, _samples[0], row_chunk=4)


def _miner(miner):
    loss = losses.NPair(miner=miner)
    values, gradient = ask(with_gradient(loss.per_row), LABELS, rows())
    check(values.shape == (0,) and gradient.shape == (0, DIM), "not zero rows")
    _references(loss)


for _name in miners.__all__:
    CASES[f"miners.{_name}"] = lambda name=_name: _miner(getattr(miners, name)())


@case("weighting.pair_weights")
def _weights():
    from tfembed.weighting import pair_weights

    weights = pair_weights(losses.MultiSimilarity(), nothing(LABELS), nothing(rows()))
    check(weights.shape == (0, 0), f"weights of shape {weights.shape}")
    values = Similarities(tf.zeros([0, 3]))
    weights = pair_weights(
        losses.MultiSimilarity(), nothing(LABELS), values, ref_labels=[0, 1, 1]
    )
    check(weights.shape == (0, 3), f"weights of shape {weights.shape}")


def _plain_layer(maker):
    layer = maker()
    layer.build((None, DIM))
    outputs, gradient = ask(with_gradient(layer), rows())
    one = layer(tf.ones([1, DIM]))
    check(outputs.shape == (0, one.shape[1]), f"outputs of shape {outputs.shape}")
    check(gradient.shape == (0, DIM), f"a gradient of shape {gradient.shape}")


def _map_layer(maker):
    layer = maker()
    layer.build((None, 3, 4, DIM))
    maps = tf.TensorSpec([None, 3, 4, DIM], tf.float32)
    outputs, gradient = ask(with_gradient(layer), maps)
    check(outputs.shape == (0, DIM), f"outputs of shape {outputs.shape}")
    check(gradient.shape == (0, 3, 4, DIM), f"a gradient of shape {gradient.shape}")


def _endpoint(maker):
    """No rows to a new layer, and to one that has been trained."""
    layer = contracts.built(maker)
    embeddings, ids = map(tf.constant, contracts.batch())

    def call(ids, embeddings):
        outputs = layer([embeddings, ids], training=True)
        return outputs, tf.add_n(layer.losses) if layer.losses else tf.zeros([])

    def state():
        return [compat.variable(weight).numpy() for weight in layer.weights]

    for _ in range(2):
        before = state()
        (outputs, loss), gradient = ask(with_gradient(call), LABELS, rows())
        check(outputs.shape == (0, DIM), f"outputs of shape {outputs.shape}")
        check(float(loss) == 0, f"a loss of {float(loss)}")
        check(gradient.shape == (0, DIM), f"a gradient of shape {gradient.shape}")
        for weight, old, new in zip(layer.weights, before, state()):
            check(np.array_equal(old, new), f"{weight.name} changed by no rows")
        tf.function(call)(ids, embeddings)


def _bank(maker):
    bank = maker()
    bank.build()
    before = bank.variable.numpy()
    ask(lambda ids, embeddings: bank.write(embeddings, ids), LABELS, rows())
    check(np.array_equal(before, bank.variable.numpy()), "rows changed")
    check(ask(bank, LABELS).shape == (0, DIM), "not zero rows")


for _layer, _makers in contracts.LAYERS.items():
    _run = _endpoint
    if _layer in contracts.PLAIN_LAYERS:
        _run = _plain_layer
    elif _layer in contracts.MAP_LAYERS:
        _run = _map_layer
    elif _layer in contracts.BANKS:
        _run = _bank
    for _number, _maker in enumerate(_makers):
        CASES[f"layers.{_layer.__name__}-{_number}"] = functools.partial(_run, _maker)

_NO_ROWS, _NO_LABELS = np.zeros((0, DIM), np.float32), np.zeros(0, np.int64)
_ROWS, _ROW_LABELS = np.eye(DIM, dtype=np.float32), np.arange(DIM) // 2
# What each metric says of no rows: a sentence.
METRICS = {
    metrics.weighted_knn: lambda f: f(_NO_ROWS, _ROWS, _ROW_LABELS, k=2),
    metrics.weighted_knn_hits: lambda f: f(
        _NO_ROWS, _NO_LABELS, _ROWS, _ROW_LABELS, ks=(2,)
    ),
    metrics.nearest: lambda f: f(_NO_ROWS, _ROWS, 2),
    metrics.retrieval: lambda f: f(_NO_ROWS, _NO_LABELS),
    metrics.clustering: lambda f: f(_NO_ROWS, _NO_LABELS),
    metrics.spread: lambda f: f(_NO_ROWS),
    metrics.bootstrap_intervals: lambda f: f({"x": _NO_ROWS[:, 0]}),
    metrics.compare: lambda f: f({"x": _NO_ROWS[:, 0]}, {"x": _NO_ROWS[:, 0]}),
    metrics.measure_seen: lambda f: f(
        _NO_ROWS, _NO_LABELS, _ROWS, _ROW_LABELS, knn=(2,)
    ),
    metrics.measure_unseen: lambda f: f(_NO_ROWS, _NO_LABELS),
    metrics.linear_probe: lambda f: f(_NO_ROWS, _NO_LABELS, _ROWS, _ROW_LABELS),
    metrics.linear_probe_hits: lambda f: f(_NO_ROWS, _NO_LABELS, _ROWS, _ROW_LABELS),
}


def _metric(function):
    try:
        METRICS[function](function)
    except ValueError as error:
        known = "must" in str(error) and "Received:" in str(error)
        check(known, f"no sentence: {error}")
    else:
        check(False, "nothing is raised")


for _function in contracts.METRICS:
    if _function is not metrics.embed:
        CASES[f"metrics.{_function.__name__}"] = functools.partial(_metric, _function)


def encoder():
    """A convolutional network of the ops that oneDNN has, to unit rows of 8."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((12, 10, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(6, 3),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.DepthwiseConv2D(3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(8),
            keras.layers.UnitNormalization(dtype="float32"),
        ]
    )


@case("metrics.embed")
def _embed():
    network = encoder()
    images = np.zeros((0, 12, 10, 1), np.float32)
    found = metrics.embed(network, [images])
    check(found.shape == (0, 8), f"embeddings of shape {found.shape}")


@case("backbones.Encoder")
def _encoder():
    from tfembed.backbones import Encoder

    found = Encoder(encoder())(np.zeros((0, 12, 10, 1), np.float32))
    check(found.shape == (0, 8), f"embeddings of shape {found.shape}")


@case("export.ExportedEncoder")
def _exported_encoder():
    exported = ExportedEncoder(encoder())
    images = tf.TensorSpec([None, 12, 10, 1], tf.float32)
    check(ask(exported, images).shape == (0, 8), "not zero rows")
    check(exported.embed(nothing(images)).shape == (0, 8), "not zero rows")


def _signatures(head):
    """Every signature, with no rows: the shapes of an answer to one, but for rows."""
    network = encoder()
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (70, 12, 10, 1)).astype(np.float32)
    gallery = Gallery(
        embeddings=np.asarray(network(images)),
        labels=np.arange(70) % 3,
        ids=np.array([f"row {row}" for row in range(70)]),
        class_names=np.array(["a", "b", "c"]),
        known_threshold=0.5,
        vote_temperature=0.1,
        vote_k=5,
    )
    state = gallery_state(gallery, load_head(head).build(gallery.embeddings))
    model = SearchModel(
        ExportedEncoder(network), network.weights, (12, 10, 1), 8, head, state, k=4
    )
    for name, signature in model.signatures.items():
        specs = signature.input_signature
        empty = signature(*[nothing(spec) for spec in specs])
        one = signature(
            *[tf.zeros([1, *nothing(spec).shape[1:]], spec.dtype) for spec in specs]
        )
        for output, value in one.items():
            given, wanted = empty[output].shape, (0, *value.shape[1:])
            check(given == wanted, f"{name}'s {output} is {given}, not {wanted}")


for _head in HEADS:
    CASES[f"export.signatures-{_head}"] = functools.partial(_signatures, _head)


@case("training.GradCacheModel")
def _grad_cache():
    from tfembed.training import GradCacheModel

    model = GradCacheModel(encoder(), chunk_size=4)
    images = tf.TensorSpec([None, 12, 10, 1], tf.float32)
    network = model.encoder
    before = [compat.variable(weight).numpy() for weight in network.weights]

    def call(images):
        with tf.GradientTape() as tape:
            outputs = model(images, training=True)
            loss = tf.reduce_sum(outputs)
        variables = [compat.variable(each) for each in network.trainable_variables]
        return outputs, tape.gradient(loss, variables)

    outputs, gradients = ask(call, images)
    check(outputs.shape == (0, 8), f"outputs of shape {outputs.shape}")
    check(not any(np.any(each) for each in gradients), "a gradient of no rows")
    after = [compat.variable(weight).numpy() for weight in network.weights]
    check(all(map(np.array_equal, before, after)), "the encoder's state changed")


@case("training.ProxyGAN and ProxyMiner")
def _proxies():
    from tfembed.training import ProxyGAN, ProxyMiner

    network = keras.Sequential([keras.Input((DIM,)), layers.UnitNorm()])
    endpoint = contracts.built(lambda: contracts.with_positives(width=3))
    gan = ProxyGAN(network, endpoint, candidates=8)
    gan.compile()
    batch = {"images": nothing(rows()), "ids": nothing(LABELS)}
    specs = {"images": rows(), "ids": LABELS}
    proxies, near = tf.function(gan, input_signature=[specs])(batch)
    check(proxies.shape == (0, DIM) and near.shape == (0,), "not zero rows")
    step = tf.function(lambda batch: gan.train_step((batch,)), input_signature=[specs])
    logs = step(batch)
    check(not any(np.any(value) for value in logs.values()), f"losses {logs}")
    check(all(np.isfinite(x).all() for x in gan.get_weights()), "weights not finite")
    miner = ProxyMiner(gan, neighbors=3)
    number = tf.TensorSpec([], tf.int64)
    found = tf.function(miner.candidates, input_signature=[specs, number])(
        batch, tf.constant(-1, tf.int64)
    )
    check(all(each.shape[0] == 0 for each in found), "candidates of nothing")


def main(after=None):
    """Runs all cases, or those that come after one."""
    assert set(METRICS) | {metrics.embed} == set(contracts.METRICS)
    guard()
    names = list(CASES)
    for name in names[names.index(after) + 1 if after else 0 :]:
        print(f"{name} ...", flush=True)
        try:
            CASES[name]()
        except Exception as error:
            traceback.print_exc()
            said = " ".join(str(error).split())
            print(f"{name}: {type(error).__name__}: {said[:600]}", flush=True)
        else:
            print(f"{name}: held", flush=True)


if __name__ == "__main__":
    main(*sys.argv[2:])
