"""What every public loss, layer and metric must satisfy; none may be forgotten."""

import inspect

import contracts
import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from tfembed import layers, losses, metrics, miners


@pytest.mark.parametrize(
    ("room", "samples"),
    [
        (losses, contracts.LOSSES),
        (layers, contracts.LAYERS),
        (metrics, contracts.METRICS),
    ],
    ids=["losses", "layers", "metrics"],
)
def test_every_public_symbol_has_a_sample(room, samples):
    public = {getattr(room, name) for name in room.__all__}
    if room is losses:  # each class has its function, see test_loss_contracts
        public = {symbol for symbol in public if isinstance(symbol, type)}
    if room is metrics:
        public = {symbol for symbol in public if not isinstance(symbol, type)}
    assert public == set(samples), "a public symbol without a contract test"


LAYER_SAMPLES = [
    pytest.param(maker, id=f"{layer.__name__}-{number}")
    for layer, makers in contracts.LAYERS.items()
    for number, maker in enumerate(makers)
]


@pytest.mark.parametrize("maker", LAYER_SAMPLES)
def test_config_round_trip(maker):
    layer = maker()
    copy = type(layer).from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    wire = keras.layers.deserialize(keras.layers.serialize(layer))
    assert wire.get_config() == layer.get_config()


@pytest.mark.parametrize("maker", LAYER_SAMPLES)
def test_every_argument_of_the_constructor_is_in_the_config(maker):
    layer = maker()
    arguments = set(inspect.signature(type(layer).__init__).parameters)
    assert arguments - {"self", "kwargs"} <= set(layer.get_config())


@pytest.mark.parametrize("maker", LAYER_SAMPLES)
def test_numbers_are_checked_when_a_layer_is_made(maker):
    layer = maker()
    config = layer.get_config()
    names = set(inspect.signature(type(layer).__init__).parameters) & set(config)
    given = {name: config[name] for name in names}
    for name in sorted(names - {"seed"}):
        if type(given[name]) not in (int, float):
            continue
        integer = isinstance(given[name], int)
        for wrong in (float("nan"), "3", [1.0], True, *[2.5] * integer):
            with pytest.raises(ValueError, match=f"`{name}` must be") as error:
                type(layer)(**{**given, name: wrong})
            assert f"Received: {name}={wrong!r}" in str(error.value)


@pytest.mark.parametrize(
    "miner", [each for each in vars(miners).values() if isinstance(each, type)]
)
def test_numbers_are_checked_when_a_miner_is_made(miner):
    for name, parameter in inspect.signature(miner).parameters.items():
        if type(parameter.default) in (int, float):
            for wrong in (float("nan"), "3", [1.0], True):
                with pytest.raises(ValueError, match=f"`{name}` must be"):
                    miner(**{name: wrong})


@pytest.mark.parametrize("layer", list(contracts.LAYERS), ids=lambda x: x.__name__)
def test_docstring_says_what_goes_in_and_out(layer):
    for part in ("Args:", "Call arguments:", "Returns:"):
        assert part in layer.__doc__


@pytest.mark.parametrize("maker", LAYER_SAMPLES)
def test_registered_under_the_package(maker):
    layer = maker()
    name = f"tfembed>{type(layer).__name__}"
    assert keras.utils.get_registered_object(name) is type(layer)


@pytest.mark.parametrize("maker", LAYER_SAMPLES)
def test_symbolic_shape_equals_the_real_one(maker):
    layer = maker()
    if type(layer) in {**contracts.ENDPOINTS, **contracts.LABEL_ENDPOINTS}:
        inputs = [keras.Input((contracts.DIM,)), keras.Input((), dtype="int64")]
        values = [*contracts.batch()]
    elif type(layer) in contracts.MAP_LAYERS:
        inputs = keras.Input((3, 4, contracts.DIM))
        values = np.tile(contracts.batch()[0][:, None, None], (1, 3, 4, 1))
    elif type(layer) in contracts.BANKS:
        inputs, values = keras.Input((), dtype="int64"), contracts.batch()[1]
    else:
        inputs, values = keras.Input((contracts.DIM,)), contracts.batch()[0]
    outputs = layer(inputs)
    real = layer(tf.nest.map_structure(tf.constant, values))
    assert tuple(outputs.shape) == (None, contracts.DIM)
    assert tuple(real.shape) == (9, contracts.DIM)
    assert (
        keras.backend.standardize_dtype(outputs.dtype) == real.dtype.name
        if (hasattr(keras.backend, "standardize_dtype"))
        else outputs.dtype == real.dtype
    )


@pytest.mark.parametrize(
    "sample",
    list(contracts.METRICS.values()),
    ids=[f.__name__ for f in contracts.METRICS],
)
def test_metrics_are_finite_and_repeat(sample):
    first, second = sample(), sample()
    np.testing.assert_array_equal(first, second)
    if np.asarray(first).dtype.kind == "f":
        assert np.isfinite(first).all()
