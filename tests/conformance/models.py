"""Writes the models that the suite asks about, and the configs that serve them.

    python tests/conformance/models.py FOLDER

They are models of the protocol, not of images, but for `pictures`, which decodes as
every export does.
"""

import os
import pathlib
import sys

import tensorflow as tf

FLOATS = tf.TensorSpec([None], tf.float32, "x")
EXAMPLES = tf.TensorSpec([None], tf.string, "inputs")
TYPES = {
    "a_bool": tf.bool,
    "a_double": tf.float64,
    "a_float": tf.float32,
    "a_string": tf.string,
    "an_int16": tf.int16,
    "an_int32": tf.int32,
    "an_int64": tf.int64,
    "an_int8": tf.int8,
    "a_uint32": tf.uint32,
    "a_uint64": tf.uint64,
    "a_uint8": tf.uint8,
}
NAMES = ("forms", "numbered", "pictures")
BROKEN_RECORD = b"\xff this is no PredictionLog"
CONFIG = """\
model_config_list {{
  config {{
    name: "forms"
    base_path: "{root}/forms"
    model_platform: "tensorflow"
  }}
  config {{
    name: "numbered"
    base_path: "{root}/numbered"
    model_platform: "tensorflow"
    model_version_policy {{ specific {{ versions: 1 versions: 2 }} }}
    version_labels {{ key: "stable" value: 1 }}
    version_labels {{ key: "canary" value: 2 }}
  }}
  config {{
    name: "pictures"
    base_path: "{root}/pictures"
    model_platform: "tensorflow"
  }}
}}
"""
MONITORING = 'prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }'


def signature(*specs):
    """Makes a signature of a function."""
    return tf.function(input_signature=list(specs))


def _read(examples):
    """Reads the features `x` (a float, 0 where missing) and `name` of examples."""
    features = {
        "x": tf.io.FixedLenFeature([], tf.float32, 0.0),
        "name": tf.io.FixedLenFeature([], tf.string, "none"),
    }
    return tf.io.parse_example(examples, features)


class Forms(tf.Module):
    """A signature for each form that inputs and outputs can take."""

    @signature(FLOATS)
    def one(self, x):
        return {"y": x * 2.0}

    @signature(
        tf.TensorSpec([None], tf.float32, "a"), tf.TensorSpec([None], tf.int64, "b")
    )
    def two(self, a, b):
        return {
            "sum": a + tf.cast(b, tf.float32),
            "twice": 2 * b,
            "text_bytes": tf.strings.as_string(b),
        }

    @signature(tf.TensorSpec([None], tf.string, "s"))
    def text(self, s):
        return {"text": s, "text_bytes": s}

    @signature(tf.TensorSpec([None, 2, 3], tf.float32, "m"))
    def matrix(self, m):
        return {"m": m, "rows": tf.reduce_sum(m, 2)}

    @signature(tf.TensorSpec(None, tf.float32, "x"))
    def anything(self, x):
        return {"y": x + 1.0}

    @signature(tf.TensorSpec([], tf.float32, "x"))
    def scalar_in(self, x):
        return {"y": x + 1.0}

    @signature(FLOATS)
    def scalar_out(self, x):
        return {"total": tf.reduce_sum(x)}

    @signature(FLOATS)
    def uneven(self, x):
        return {"a": x, "b": tf.concat([x, x], 0)}

    @signature(FLOATS)
    def half(self, x):
        return {"y": tf.cast(x, tf.float16)}

    @signature(FLOATS)
    def failing(self, x):
        with tf.control_dependencies(
            [tf.debugging.assert_positive(x, "x is not positive")]
        ):
            return {"y": tf.identity(x)}

    @signature(EXAMPLES)
    def classify(self, inputs):
        read = _read(inputs)
        return {
            "classes": tf.stack([read["name"], tf.fill(tf.shape(inputs), "other")], 1),
            "scores": tf.stack([read["x"], 1.0 - read["x"]], 1),
        }

    @signature(EXAMPLES)
    def classify_scores(self, inputs):
        return {"scores": _read(inputs)["x"][:, None]}

    @signature(EXAMPLES)
    def classify_classes(self, inputs):
        return {"classes": _read(inputs)["name"][:, None]}

    @signature(EXAMPLES)
    def classify_flat(self, inputs):
        return {"scores": _read(inputs)["x"]}

    @signature(EXAMPLES)
    def classify_double(self, inputs):
        return {"scores": tf.cast(_read(inputs)["x"][:, None], tf.float64)}

    @signature(EXAMPLES)
    def classify_uneven(self, inputs):
        read = _read(inputs)
        return {
            "classes": read["name"][:, None],
            "scores": tf.stack([read["x"], read["x"]], 1),
        }

    @signature(EXAMPLES)
    def classify_short(self, inputs):
        return {"scores": _read(inputs)["x"][:1, None]}

    @signature(EXAMPLES)
    def regress(self, inputs):
        return {"outputs": _read(inputs)["x"] * 10.0}

    @signature(EXAMPLES)
    def regress_column(self, inputs):
        return {"outputs": _read(inputs)["x"][:, None]}

    @signature(EXAMPLES)
    def regress_wide(self, inputs):
        x = _read(inputs)["x"]
        return {"outputs": tf.stack([x, x], 1)}

    @signature(EXAMPLES)
    def regress_double(self, inputs):
        return {"outputs": tf.cast(_read(inputs)["x"], tf.float64)}

    @signature(EXAMPLES)
    def three_outputs(self, inputs):
        x = _read(inputs)["x"][:, None]
        return {"classes": tf.strings.as_string(x), "scores": x, "more": x}

    @signature(EXAMPLES)
    def other_outputs(self, inputs):
        return {"labels": _read(inputs)["x"]}

    @signature(tf.TensorSpec([None], tf.string, "examples"))
    def other_input(self, examples):
        return {"scores": _read(examples)["x"][:, None]}


class Typed(tf.Module):
    """Every dtype that JSON can carry, in and out."""

    @signature(*(tf.TensorSpec([None], dtype, name) for name, dtype in TYPES.items()))
    def types(
        self,
        a_bool,
        a_double,
        a_float,
        a_string,
        an_int16,
        an_int32,
        an_int64,
        an_int8,
        a_uint32,
        a_uint64,
        a_uint8,
    ):
        given = {name: value for name, value in locals().items() if name in TYPES}
        return {f"out_{name}": tf.identity(value) for name, value in given.items()}


class Numbered(tf.Module):
    """Tells its own version."""

    def __init__(self, number):
        super().__init__()
        self.number = tf.Variable(number, dtype=tf.int64)

    @signature(FLOATS)
    def which(self, x):
        return {"version": tf.fill(tf.shape(x), self.number)}


class Pictures(tf.Module):
    """The gates of every export: it looks at the sizes that images declare or have."""

    @signature(tf.TensorSpec([None], tf.string, "image_bytes"))
    def decode(self, image_bytes):
        from tfembed.export.image_bytes import decode_images

        images, valid = decode_images(image_bytes, (8, 8, 3))
        return {"mean": tf.reduce_mean(images, [1, 2, 3]), "valid": valid}

    @signature(tf.TensorSpec([None, 8, 8, 3], tf.float32, "images"))
    def pixels(self, images):
        """Pools over the whole image, as what would take one of any size."""
        from tfembed.export.input_shapes import as_declared

        spec = tf.TensorSpec([None, 8, 8, 3], tf.float32)
        (images,) = as_declared({"images": images}, [spec])
        return {"mean": tf.reduce_mean(images, [1, 2, 3])}


def make_forms():
    """Returns a module, and its signatures by name."""
    forms, typed = Forms(), Typed()
    forms.typed = typed
    signatures = {
        name: getattr(forms, name)
        for name, value in vars(Forms).items()
        if hasattr(value, "get_concrete_function")
    }
    signatures["types"] = typed.types
    signatures["serving_default"] = forms.one
    return forms, signatures


def write_models(root):
    """Writes the models, `models.config` and `monitoring.config` into a folder.

    Args:
        root: Absolute path of the folder, as the server sees it too.
    """
    root = pathlib.Path(root)
    forms, signatures = make_forms()
    tf.saved_model.save(forms, str(root / "forms" / "7"), signatures=signatures)
    (root / "forms" / "3").symlink_to("7")
    for number in (1, 2, 3):
        write_numbered(root / "numbered", number)
    pictures = Pictures()
    tf.saved_model.save(
        pictures,
        str(root / "pictures" / "1"),
        signatures={"serving_default": pictures.decode, "pixels": pictures.pixels},
    )
    write_numbered(root / "spare", 1)
    write_warmup(root / "spare" / "1", _predict_log("spare"), _predict_log("spare"))
    write_numbered(root / "cold", 1)
    write_warmup(root / "cold" / "1", BROKEN_RECORD)
    (root / "broken" / "1").mkdir(parents=True)
    (root / "broken" / "1" / "saved_model.pb").write_bytes(b"\xff junk")
    (root / "empty").mkdir()
    (root / "models.config").write_text(CONFIG.format(root=root))
    (root / "monitoring.config").write_text(MONITORING)


def write_warmup(path, *records):
    """Writes the warm-up records of a version."""
    extra = path / "assets.extra"
    extra.mkdir()
    with tf.io.TFRecordWriter(str(extra / "tf_serving_warmup_requests")) as file:
        for record in records:
            file.write(record)


def _predict_log(name):
    """Returns the record of a request to a `Numbered`."""
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name = name
    request.model_spec.signature_name = "which"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([0.0]))
    return log.SerializeToString()


def write_numbered(base, number):
    """Writes a version whole: hidden beside its place first, then renamed."""
    module = Numbered(number)
    hidden = pathlib.Path(base) / f".writing-{number}"
    tf.saved_model.save(
        module,
        str(hidden),
        signatures={"which": module.which, "serving_default": module.which},
    )
    os.rename(hidden, pathlib.Path(base) / str(number))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    pathlib.Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    write_models(pathlib.Path(sys.argv[1]).resolve())
