"""Constructors that follow from the losses' functions are what was written before."""

import copy
import functools
import inspect
import json
import pathlib
import pickle
import pydoc
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from shared import loaded
from tensorflow import keras

from tfembed import compat, losses
from tfembed.losses import FunctionalLoss
from tfembed.losses.constructor import settings_of

BEFORE = pathlib.Path(__file__).parent / "before"
TABLE = json.loads((BEFORE / "constructors.json").read_text(encoding="utf-8"))
CONFIGS = json.loads((BEFORE / "configs.json").read_text(encoding="utf-8"))


def recorder():
    return loaded(BEFORE / "record.py")


# Losses whose constructor does more than check its arguments and hand them on.
WRITTEN = {"Matryoshka"}
CLASSES = recorder().classes()
DERIVED = {name: CLASSES[name] for name in CLASSES if name not in WRITTEN}
each_loss = pytest.mark.parametrize("loss", DERIVED.values(), ids=list(DERIVED))


def arguments_of(loss):
    return inspect.signature(loss).parameters


# The one that told of its settings in two sentences, the second of them this:
LIKEWISE = "    stop_gradient_weights, normalize, row_chunk: Likewise.\n"


@pytest.mark.parametrize("name", TABLE)
def test_what_a_user_sees_is_as_it_was(name):
    now, before = recorder().constructor(CLASSES[name]), dict(TABLE[name])
    assert (LIKEWISE in before["doc"]) == (name == "RankedList")
    if name == "RankedList":
        assert "stop_gradient_weights, normalize, row_chunk: As in" in now.pop("doc")
        del before["doc"]
    assert json.loads(json.dumps(now)) == before


@each_loss
def test_it_follows_from_the_function(loss):
    assert "__init__" not in inspect.getsource(loss), "the function's says it all"
    own = settings_of(loss.function)
    assert list(arguments_of(loss)) == [*(x.name for x in own), "reduction", "name"]
    for one in own:
        assert arguments_of(loss)[one.name].default == one.default
    constructor = loss.__init__
    assert constructor.__name__ == "__init__"
    assert constructor.__qualname__ == f"{loss.__name__}.__init__"
    assert constructor.__module__ == loss.__module__


def test_a_model_saved_before_has_its_losses():
    kind = "keras3" if compat.KERAS_3 else "keras2"
    model = keras.models.load_model(BEFORE / f"{kind}.keras")
    assert set(model.loss) == set(CONFIGS) == set(TABLE)
    for name, loss in model.loss.items():
        assert type(loss) is CLASSES[name]
        assert json.loads(json.dumps(loss.get_config())) == CONFIGS[name]
    labels, x = [0, 0, 1, -1], np.eye(4, dtype="float32") + 0.3
    made = losses.Circle(margin=0.3, gamma=64.0, ignore_label=-1)
    np.testing.assert_allclose(model.loss["Circle"](labels, x), made(labels, x))


@each_loss
def test_every_argument_by_position(loss):
    values = [each.default for each in arguments_of(loss).values()]
    assert loss(*values).get_config() == loss().get_config()
    assert list(loss().hyperparameters) == list(arguments_of(loss))[:-2]


@each_loss
def test_pickles_and_copies(loss):
    made = loss(reduction="sum", name="mine", ignore_label=7)
    for again in (pickle.loads(pickle.dumps(made)), copy.copy(made)):
        assert type(again) is loss
        assert again.get_config() == made.get_config()
    assert copy.deepcopy(made).get_config() == made.get_config()


@each_loss
def test_wrong_arguments_are_named(loss):
    start = rf"{loss.__name__}.__init__\(\)"
    with pytest.raises(TypeError, match=f"{start} got an unexpected.*'marign'.*name"):
        loss(marign=1.0)
    defaults = [each.default for each in arguments_of(loss).values()]
    with pytest.raises(TypeError, match=f"{start} too many positional.*ignore_label"):
        loss(*defaults, None)
    first = next(iter(arguments_of(loss)))
    with pytest.raises(TypeError, match=f"{start} multiple values.*'{first}'"):
        loss(defaults[0], **{first: defaults[0]})


def test_help_tells_each_setting_once():
    text = pydoc.render_doc(losses.Circle, renderer=pydoc.plaintext)
    assert text.count(" Circle(margin: 'Number' = 0.4, gamma: 'Number' = 80.0, ") == 1
    assert text.count("gamma: Scale, positive.") == 1
    assert text.count("margin, gamma, stop_gradient_weights, miner, row_chunk: As") == 1
    assert text.count("reduction, name: As in `keras.losses.Loss`.") == 1


# TensorFlow 2.15 reads its own docstrings, and cannot be imported with -OO. There
# tfembed alone is compiled like that.
OPTIMIZED = """
import inspect, json, pickle, re, sys
from importlib.machinery import SourceFileLoader
import tensorflow
SourceFileLoader.get_code = lambda self, name: compile(
    self.get_data(self.path), self.path, "exec", dont_inherit=True, optimize=2
)
from tfembed import losses
if losses.Circle.__doc__ or losses.circle.__doc__:
    sys.exit("with docstrings")
for name, known in json.load(open(sys.argv[1])).items():
    loss = getattr(losses, name)
    made = pickle.loads(pickle.dumps(loss(ignore_label=3)))
    config = {**made.get_config(), "ignore_label": None}
    config.pop("dtype", None)
    shown = re.sub(": '.*?' = ", "=", str(inspect.signature(loss)))
    if re.sub(": '.*?'", "", shown) != known["class"] or config != known["config"]:
        sys.exit(name)
try:
    losses.Circle(gamma=float("nan"))
except ValueError as error:
    print("checked" if "`gamma` must be" in str(error) else error)
"""


def test_without_docstrings():
    flags = ["-OO"] if compat.KERAS_3 else []
    table = str(BEFORE / "constructors.json")
    done = subprocess.run(
        [sys.executable, *flags, "-c", OPTIMIZED, table],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (0, "checked\n"), done.stderr


# --- subclasses -----------------------------------------------------------------------

ROWS = [0, 0, 1, 1], np.float32([[1, 0], [0.6, 0.8], [0, 1], [0.8, -0.6]])


def test_a_subclass_with_arguments_of_its_own():
    @keras.utils.register_keras_serializable(package="tests")
    class Doubled(losses.Circle):
        def __init__(self, times=2.0, gamma=10.0, **kwargs):
            super().__init__(gamma=gamma, **kwargs)
            self.times = times

        def call(self, y_true, y_pred):
            return self.times * super().call(y_true, y_pred)

        def get_config(self):
            return {**super().get_config(), "times": self.times}

    made = Doubled(3.0, margin=0.25, name="doubled", ignore_label=9)
    config = made.get_config()
    assert (config["times"], config["gamma"], config["margin"]) == (3.0, 10.0, 0.25)
    assert (config["name"], config["ignore_label"]) == ("doubled", 9)
    plain = losses.Circle(0.25, 10.0)
    np.testing.assert_allclose(made(*ROWS), 3 * plain(*ROWS), rtol=1e-6)
    again = keras.losses.deserialize(keras.losses.serialize(made))
    assert type(again) is Doubled and again.get_config() == config
    with pytest.raises(ValueError, match="`gamma` must be"):
        Doubled(gamma=-1.0)
    with pytest.raises(TypeError, match="marign"):
        Doubled(marign=1.0)


def test_a_subclass_that_changes_nothing():
    class Same(losses.Circle):
        pass

    assert inspect.signature(Same) == inspect.signature(losses.Circle)
    assert Same().get_config() == losses.Circle().get_config()


def test_a_subclass_with_another_function():
    """It takes that function's settings; the parent's check holds for those it has."""

    def softer(labels, embeddings, *, gamma=8.0, margin=0.4, softness=0.5):
        values = losses.circle(labels, embeddings, gamma=gamma, margin=margin)
        return values * softness

    def softest(labels, embeddings, *, softness=0.5):
        return softer(labels, embeddings, softness=softness)

    class Softer(losses.Circle):
        function = staticmethod(softer)

    class Softest(Softer):
        function = staticmethod(softest)

    assert str(inspect.signature(Softer)).startswith("(gamma=8.0, margin=0.4, softn")
    assert Softer().name == "softer" and Softer().__doc__ is None
    plain = losses.Circle(gamma=8.0)(*ROWS)
    np.testing.assert_allclose(Softer(softness=2.0)(*ROWS), 2 * plain, rtol=1e-6)
    np.testing.assert_allclose(Softest(0.25)(*ROWS), plain / 4, rtol=1e-6)
    with pytest.raises(ValueError, match="`gamma` must be"):
        Softer(gamma=float("nan"))
    assert set(Softest().hyperparameters) == {"softness"}


def test_a_constructor_that_a_parent_wrote_stays():
    class Named(FunctionalLoss):
        def __init__(self, title):
            super().__init__(reduction="sum", name=title, margin=0.3)

    class Mine(Named):
        function = staticmethod(losses.circle)

    assert list(arguments_of(Mine)) == ["title"]
    made = Mine("of mine", ignore_label=5)
    assert made.name == "of mine" and made.ignore_label == 5
    assert made.hyperparameters == {"margin": 0.3}


def test_parents_side_by_side_have_their_turn():
    class Counted(FunctionalLoss):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.counted = True

    class Both(losses.Circle, Counted):
        pass

    assert Both(0.1).counted and Both(0.1).margin == 0.1


def plain(labels, similarities, scale=2.0, *, shift):
    """As functions may be: a setting by position, and one without a default.

    Args:
        labels: `(batch,)`.
        similarities: `(batch, 2)`.
        scale: Times this.
        shift: Plus this.
    """
    del labels
    return scale * tf.reduce_sum(similarities, axis=1) + shift


def test_functions_of_all_sorts():
    class Plain(FunctionalLoss):
        """`plain` as a Keras loss."""

        function = staticmethod(plain)

    text = "(shift, scale=2.0, reduction='sum_over_batch_size', name='plain')"
    assert recorder().bare(Plain) == text
    np.testing.assert_allclose(Plain(1.0)([0], [[1.0, 2.0]]), 7.0)
    np.testing.assert_allclose(Plain(scale=1.0, shift=0.0)([0], [[1.0, 2.0]]), 3.0)
    with pytest.raises(TypeError, match=r"Plain.__init__\(\) missing.*'shift'"):
        Plain()
    assert inspect.getdoc(Plain).split("\n") == [
        "`plain` as a Keras loss.",
        "",
        "Args:",
        "    shift, scale: As in `plain`.",
        "    reduction, name: As in `keras.losses.Loss`.",
    ]

    class Partial(FunctionalLoss):
        """Tells of its arguments itself.

        Args:
            shift: Plus this.
        """

        function = staticmethod(functools.partial(plain, scale=3.0))

    assert Partial(1.0).name == "Partial" and Partial.__doc__.count("Args:") == 1
    np.testing.assert_allclose(Partial(1.0)([0], [[1.0, 2.0]]), 10.0)

    class Compiled(FunctionalLoss):
        function = staticmethod(tf.function(plain))

    assert list(arguments_of(Compiled))[:2] == ["shift", "scale"]
    np.testing.assert_allclose(Compiled(1.0)([0], [[1.0, 2.0]]), 7.0)


def test_a_function_of_any_keyword_leaves_the_constructor_alone():
    def anything(labels, embeddings, **settings):
        return losses.circle(labels, embeddings, **settings)

    class Anything(FunctionalLoss):
        function = staticmethod(anything)

    class Circular(losses.Circle):
        function = staticmethod(anything)

    loose = Anything(reduction="sum_over_batch_size", name="loose", margin=0.1)
    assert loose.hyperparameters == {"margin": 0.1}
    assert inspect.signature(Circular) == inspect.signature(losses.Circle)
    expected = losses.Circle(margin=0.1)(*ROWS)
    np.testing.assert_allclose(loose(*ROWS), expected)
    np.testing.assert_allclose(Circular(margin=0.1)(*ROWS), expected)


def test_a_check_of_what_is_no_setting_is_refused():
    with pytest.raises(TypeError, match="`check` of `Wrong`.*Received: marign"):

        class Wrong(FunctionalLoss):
            function = staticmethod(losses.circle)
            check = staticmethod(lambda marign: None)
