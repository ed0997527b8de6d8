"""Two logical CPUs, fixed seeds, float32 before each test; which slow tests run.

And what a user brings: modules that can be imported, packages that are installed.
"""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest
import skipped
import tensorflow as tf
import turns
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
    group = parser.getgroup("tfembed")
    group.addoption(
        "--runslow",
        action="store_true",
        help="run the tests marked slow, and all combinations of those marked thin",
    )
    group.addoption(
        "--each-kind",
        action="store_true",
        help="run some of each kind of slow tests, others at each commit",
    )
    group.addoption(
        "--turn",
        type=int,
        help="which of the combinations of slow and thin tests run, any integer; "
        "the number of commits by default",
    )
    group.addoption(
        "--share",
        type=int,
        choices=(0, 1),
        help="run one of two shares, drawn at each commit: files that Keras has no "
        "part in on one stack, of many combinations a part on each",
    )


def pytest_collection_modifyitems(config, items):
    turns.choose(
        items,
        everything=config.getoption("--runslow"),
        each_kind=config.getoption("--each-kind"),
        turn=config.getoption("--turn"),
        share=config.getoption("--share"),
    )


def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        skipped.note(report)


def pytest_collectreport(report):
    if report.skipped:
        skipped.note(report)


@pytest.fixture(autouse=True, scope="module")
def _earlier_files_are_not_collected():
    """A collection looks through what its own file made, not through gigabytes."""
    gc.collect()
    gc.freeze()


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


@pytest.fixture
def importable(tmp_path, monkeypatch):
    """Makes a module of its text; returns its name."""

    def make(kind, text):
        name = f"{kind}_{tmp_path.name}".replace("-", "_")
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))
        return name

    return make


@pytest.fixture
def installed(tmp_path):
    """Leaves a package's metadata beside the modules, as pip does."""

    def make(name, entry_points):
        folder = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(entry_points)

    return make
