"""Two logical CPUs, fixed seeds, float32 before each test; `--runslow`."""

import collections
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

if os.environ.get("PYTEST_XDIST_WORKER"):  # as many processes as cores
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
_CPU = tf.config.list_physical_devices("CPU")[0]
tf.config.set_visible_devices([], "GPU")
tf.config.set_logical_device_configuration(
    _CPU, [tf.config.LogicalDeviceConfiguration()] * 2
)


def pytest_addoption(parser):
    parser.addoption(
        "--runslow",
        action="store_true",
        help="run the tests marked slow, and all combinations of those marked thin",
    )


def pytest_collection_modifyitems(config, items):
    if config.getoption("--runslow"):
        return
    skip = pytest.mark.skip(reason="slow: needs --runslow")
    combinations = collections.Counter()
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(skip)
        elif thin := item.get_closest_marker("thin"):
            test = item.nodeid.split("[")[0]
            if combinations[test] % thin.args[0]:
                item.add_marker(skip)
            combinations[test] += 1


@pytest.fixture(autouse=True)
def _fresh_keras():
    keras.mixed_precision.set_global_policy("float32")
    keras.utils.set_random_seed(0)
    yield
    keras.mixed_precision.set_global_policy("float32")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def strategy():
    """Two replicas; the one `MirroredStrategy` of the process.

    A second strategy object would collide with it in its collectives' keys.
    """
    return tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"],
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )


@pytest.fixture(params=["eager", "graph"])
def run(request):
    """Calls a function eagerly, or as a `tf.function`."""
    if request.param == "eager":
        return lambda function, *args: function(*args)
    return lambda function, *args: tf.function(function)(*args)
