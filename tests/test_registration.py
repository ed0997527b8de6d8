"""Plain Keras loads what tfembed saved, whichever of the two was imported first."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
from tensorflow import keras

from tfembed import registration
from tfembed.recipes import instdisc

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOAD = """
import sys
{imports}
import numpy as np
folder, *names = sys.argv[1:]
images = np.arange(3 * 64, dtype="float32").reshape(3, 8, 8, 1)
encoder = keras.models.load_model(folder + "/encoder.keras")
assert np.array_equal(encoder(images), np.load(folder + "/expected.npy"))
model = keras.models.load_model(folder + "/model.keras")
assert type(model.optimizer).__name__ == "DecayedSGD"
for name in names:
    assert keras.utils.get_registered_object(name) is not None, name
"""
ORDERS = {
    "tfembed first": "import tfembed\n"
    "assert 'tensorflow' not in sys.modules\n"
    "from tensorflow import keras",
    "Keras first": "from tensorflow import keras\nkeras.layers.Dense\nimport tfembed",
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """An encoder as runs leave it, and the whole model that was trained."""
    folder = tmp_path_factory.mktemp("saved")
    config = instdisc.Config(dim=4, weight_decay=1e-4, image_size=8)
    networks = instdisc.build(config, (8, 8, 1), 16)
    networks.model.compile(instdisc.InstanceDiscrimination().optimizer(config, 3))
    images = np.arange(3 * 64, dtype="float32").reshape(3, 8, 8, 1)
    np.save(folder / "expected.npy", networks.encoder(images))
    networks.encoder.save(folder / "encoder.keras")
    networks.model.save(folder / "model.keras")
    return folder


@pytest.mark.parametrize("order", ORDERS)
def test_plain_keras_loads_it(order, saved):
    registration.register()
    names = [each for each in keras.utils.get_custom_objects() if "tfembed>" in each]
    assert len(names) > 50
    program = LOAD.format(imports=ORDERS[order])
    done = subprocess.run(
        [sys.executable, "-c", program, str(saved), *names],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


def test_what_cannot_be_found_names_the_function_that_loads():
    with pytest.raises(ValueError, match="'tfembed>Gone'.*tfembed.load_model"):
        keras.utils.get_registered_object("tfembed>Gone")
    assert keras.utils.get_registered_object("other>Gone") is None
    registration.install()  # once more changes nothing
    finders = [type(each).__name__ for each in sys.meta_path]
    assert finders.count("_Finder") == 1


def test_who_goes_through_all_names_has_them_registered_first(monkeypatch):
    asked = []
    monkeypatch.setattr(
        registration, "_register_once", lambda: asked.append(len(asked))
    )
    objects = registration._CustomObjects({"other>Name": object})
    assert list(objects) == ["other>Name"] and asked == [0]
    assert list(objects.keys()) == ["other>Name"] and asked == [0, 1]
