"""Any Keras embedding model as the exporter uses it: images in, embeddings out."""

import hashlib
import inspect
import zipfile
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow import keras

from tfembed import load_model
from tfembed.compat import variable
from tfembed.formats.run_config import agreed_resize, run_resize
from tfembed.ops.arguments import as_shape
from tfembed.ops.zero_rows import around_zero_rows

_UNIT_TOLERANCE = 1e-2


class ExportedEncoder:
    """A Keras model that embeds images, checked.

    Functional, Sequential and subclassed models will do, and layers. What is random in
    training (augmentation, dropout) is not in inference. Mixed precision stays as it
    is, but that embeddings come out in float32. A model built under a strategy is
    exported with the weights of its first replica.

    Args:
        model: The Keras model, or the path of one.
        image_shape: `(height, width, channels)`; `None`: the model's own.
        normalize: Whether embeddings are divided by their length.
        resize: `"squash"`, `"crop"` or `"pad"`, how encoded images are brought to the
            shape (`tfembed/ops/resize.py`); `None`: as the run says whose encoder it
            is, else `"squash"`.

    Attributes:
        image_shape: `(height, width, channels)`.
        resize: How encoded images are brought to it.
        dim: Length of an embedding.
        weights: Its `tf.Variable`s, all of them.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If it does not take one batch of images of a known size, or does
            not give embeddings `(batch, dim)`.
    """

    def __init__(self, model, image_shape=None, normalize=False, resize=None):
        own, path = None, model
        if isinstance(model, (str, Path)):
            own, model = run_resize(path), load_encoder(path)
        self.resize = agreed_resize(resize, own, f"the run of {path!r}") or "squash"
        if not isinstance(model, keras.layers.Layer):
            raise TypeError(
                "`encoder` must be a Keras model, or the path of one. "
                f"Received: encoder={model!r} of type {type(model).__name__}."
            )
        self._model = model
        self.normalize = normalize
        self.image_shape, self._dtype = _image_input(model, image_shape)
        call = inspect.signature(model.call).parameters.values()
        self._training = any(
            each.name == "training" or each.kind is each.VAR_KEYWORD for each in call
        )
        self.dim = self._output_dim()
        self.weights = [variable(weight) for weight in model.variables]

    def __call__(self, images, training=False):
        """Embeds images, `(batch, height, width, channels)` float32 in 0..255.

        Args:
            images: Tensor or array.
            training: Must be false; there for the sake of Keras' form.

        Returns:
            What the model gives, `(batch, dim)`.
        """
        del training
        images = tf.convert_to_tensor(images, tf.float32)
        if self._dtype.is_integer:
            images = tf.round(images)
        arguments = {"training": False} if self._training else {}
        return around_zero_rows(
            lambda images: self._model(images, **arguments),
            tf.cast(images, self._dtype),
        )

    def embed(self, images):
        """Embeds images here and now, on the CPU as a server does.

        Args:
            images: float32 array `(n, height, width, channels)`.

        Returns:
            float32 array `(n, dim)`, of unit length if `normalize` is true.
        """
        with tf.device("CPU"):
            embeddings = np.asarray(tf.cast(self(images), tf.float32))
        if self.normalize:
            norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
            embeddings = embeddings / np.where(norms > 0, norms, 1)
        return embeddings

    def check_unit(self, images):
        """Raises unless the embeddings of some images are of unit length.

        Args:
            images: float32 array `(n, height, width, channels)`.

        Raises:
            ValueError: Saying what to do.
        """
        embeddings = self.embed(images)
        norms = np.linalg.norm(embeddings, axis=1)
        off = np.abs(norms - 1)
        if not off.max() <= _UNIT_TOLERANCE:
            norm = norms[int(np.argmax(np.where(np.isnan(off), np.inf, off)))]
            raise ValueError(
                "The encoder must give embeddings of length 1, because scores are "
                f"cosines. Received: embeddings of length {norm:.3g}. "
                + (
                    "An image of zeros or not a number cannot be searched for: give "
                    "other `samples`."
                    if self.normalize
                    else "Give normalize=True (--normalize) to have them divided by "
                    "their length in the served model, the gallery's too; or end the "
                    "model with `keras.layers.UnitNormalization()`."
                )
            )

    @property
    def is_mixed(self):
        """Whether a layer computes in half precision."""
        return self.precision != "float32"

    @property
    def precision(self):
        """The dtypes that its layers compute in, such as "float16 and float32"."""
        layers = self._model._flatten_layers()
        dtypes = {getattr(layer, "compute_dtype", None) for layer in layers}
        halves = sorted(dtypes & {"float16", "bfloat16"})
        return f"{halves[0]} and float32" if halves else "float32"

    @property
    def bytes(self):
        """Size of the weights."""
        return sum(
            int(np.prod(each.shape)) * each.dtype.size
            for each in self.weights
            if each.dtype.size
        )

    def sha256(self):
        """Hashes the weights: their order, shapes, dtypes and values, not names.

        Returns:
            64 hexadecimal digits, the same whenever the same model is loaded.
        """
        digest = hashlib.sha256()
        for weight in self._model.weights:
            value = np.asarray(tf.convert_to_tensor(variable(weight)))
            digest.update(f"{value.dtype} {value.shape};".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
        return digest.hexdigest()

    def _output_dim(self):
        """Traces the model once for the shape of its output; builds it if need be."""
        try:
            blank = tf.zeros((1, *self.image_shape))
            found = self(blank)
            self._check_shapes()
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            said = [line.strip() for line in lines if "{{node" in line] or lines
            raise ValueError(
                "The encoder must embed images (batch, height, width, channels). "
                f"Received: for images of shape {(1, *self.image_shape)}: {said[0]}"
            ) from error
        shape = tuple(found.shape) if hasattr(found, "shape") else None
        if shape is None or len(shape) != 2 or shape[0] != 1:
            what = f"shape {shape}" if shape else type(found).__name__
            raise ValueError(
                "The encoder must give one tensor of embeddings, (batch, dim). "
                f"Received: {what} for one image. "
                "Export the encoder alone, without ids or heads."
            )
        return int(shape[1])

    def _check_shapes(self):
        """Raises what a graph says of the shapes: kernels do not say it on every CPU.

        (Of an image smaller than a convolution's window, for example. What else a graph
        may have against the encoder is said when it is exported.)
        """
        images = tf.TensorSpec((1, *self.image_shape), tf.float32)
        try:
            tf.function(self).get_concrete_function(images)
        except Exception as error:
            if "{{node" in str(error):  # the place of an op whose shapes do not fit
                raise


def load_encoder(path):
    """Loads a Keras model from a file.

    Args:
        path: A `.keras` or `.h5` file.

    Raises:
        ValueError: If this version of Keras cannot load it.
    """
    try:
        return load_model(str(path))
    except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} must be a Keras model that this version of Keras can load, but "
            f"loading it says: {error}"
        ) from error


def _image_input(model, image_shape):
    """Returns the shape of an image, and the dtype that the model takes."""
    try:
        inputs = list(model.inputs or [])
    except (AttributeError, ValueError, TypeError):
        inputs = []  # a layer, or a subclassed model, which knows none
    shapes = [tuple(tensor.shape) for tensor in inputs]
    dtypes = [tf.as_dtype(tensor.dtype) for tensor in inputs]
    if len(shapes) > 1 or (shapes and len(shapes[0]) != 4):
        raise ValueError(
            "The encoder must have one input: images (batch, height, width, channels). "
            f"Received: inputs {shapes} of {[each.name for each in dtypes]}. "
            "Save the encoder alone, without ids or heads."
        )
    own = shapes[0][1:] if shapes else (None, None, None)
    wanted = as_shape("image_shape", image_shape) if image_shape is not None else own
    if None in wanted:
        raise ValueError(
            "The encoder must tell the size of its images, or `image_shape` must. "
            f"Received: an encoder of images {own}. "
            "Give image_shape=(height, width, channels) (--image-shape)."
        )
    fits = all(side in (None, given) for side, given in zip(own, wanted))
    if not fits:
        raise ValueError(
            f"`image_shape` must fit the encoder, whose images are {own}. "
            f"Received: image_shape={wanted}. Leave it out."
        )
    if wanted[2] not in (1, 3):
        raise ValueError(
            "The encoder must take images of 1 or 3 channels. "
            f"Received: images {tuple(wanted)}."
        )
    dtype = dtypes[0] if dtypes else tf.float32
    return tuple(int(side) for side in wanted), dtype
