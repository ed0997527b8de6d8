"""Records the constructors of all losses, and a model saved with them.

python tests/losses/before/record.py FOLDER, from the root of the commit to record: one
where each class still wrote its constructor itself. A model of each Keras; the
tables are the same on both.
"""

import inspect
import json
import pathlib
import sys
import tempfile
import zipfile

from tensorflow import keras

# Of the losses of the saved model, those that have other settings than the defaults.
SETTINGS = {
    "Circle": {"margin": 0.3, "gamma": 64.0, "ignore_label": -1},
    "SupCon": {"temperature": 0.2, "form": "in", "reduction": "sum"},
    "SoftTriple": {"per_class": 2},
}


def classes():
    """Returns the public losses by name."""
    from tfembed import losses

    found = {name: getattr(losses, name) for name in losses.__all__}
    return {name: each for name, each in found.items() if isinstance(each, type)}


def bare(function):
    """Returns a signature without its hints, as text: names and defaults."""
    signature = inspect.signature(function)
    nothing = inspect.Parameter.empty
    parameters = [x.replace(annotation=nothing) for x in signature.parameters.values()]
    return str(inspect.Signature(parameters))


def constructor(loss):
    """Returns what a user can see of a loss's constructor, as JSON has it."""
    from tfembed import losses

    config = getattr(losses, loss.__name__)().get_config()
    config.pop("dtype", None)  # of some versions of Keras 3
    return {
        "class": bare(loss),
        "init": bare(loss.__init__),
        "doc": inspect.getdoc(loss),
        "registered": keras.utils.get_registered_name(loss),
        "function": loss.function.__name__,
        "config": config,
    }


def model(made):
    """Returns a compiled model with an output for each loss, named like it."""
    inputs = keras.Input((4,))
    outputs = {
        name: keras.layers.Activation("linear", name=name)(inputs) for name in made
    }
    whole = keras.Model(inputs, outputs)
    whole.compile("sgd", loss=dict(made))
    return whole


def main(folder):
    """Writes the tables and this Keras's model into a folder."""
    from tfembed import compat, miners

    folder = pathlib.Path(folder)
    found = classes()
    table = {name: constructor(loss) for name, loss in found.items()}
    text = json.dumps(table, indent=1, sort_keys=True) + "\n"
    (folder / "constructors.json").write_text(text, encoding="utf-8")
    made = {name: loss(**SETTINGS.get(name, {})) for name, loss in found.items()}
    made["Contrastive"] = found["Contrastive"](miner=miners.HardMiner())
    with tempfile.TemporaryDirectory() as scratch:
        saved = pathlib.Path(scratch) / "model.keras"
        model(made).save(saved)
        kind = "keras3" if compat.KERAS_3 else "keras2"
        with (
            zipfile.ZipFile(saved) as whole,
            zipfile.ZipFile(
                folder / f"{kind}.keras", "w", zipfile.ZIP_DEFLATED
            ) as small,
        ):
            for each in whole.namelist():
                small.writestr(each, whole.read(each))
    configs = {name: loss.get_config() for name, loss in made.items()}
    text = json.dumps(configs, indent=1, sort_keys=True) + "\n"
    (folder / "configs.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
