"""Requests that a server runs before it serves a version, so that none waits for it.

TF Serving replays `assets.extra/tf_serving_warmup_requests`, a TFRecord file of
`PredictionLog`s, and does not load a version if one of them fails. Writing it needs
no other package: the few messages around the tensors are encoded here.
"""

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto

from tfembed.export.native import fields
from tfembed.export.query_options import nothing_asked

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
BATCH_SIZES = (1, 8)

# Field numbers of TF Serving's protos (apis/prediction_log.proto, predict.proto,
# model.proto).
_LOG_PREDICT = 6
_PREDICT_REQUEST = 1
_REQUEST_SPEC, _REQUEST_INPUTS = 1, 2
_SPEC_NAME, _SPEC_SIGNATURE = 1, 3


def warmup_requests(image_shape, dim, batch_sizes=BATCH_SIZES):
    """Returns a request of each signature and batch size.

    The images are grey and the lists of ids and labels empty: nothing in them depends
    on the gallery.

    Args:
        image_shape: `(height, width, channels)`.
        dim: Length of an embedding.
        batch_sizes: Sizes that clients, or the server's batching, use.

    Returns:
        List of `(signature name, {input name: array})`.
    """
    pixels = np.full(image_shape, 127, np.uint8)
    png = tf.io.encode_png(pixels).numpy()
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[png]))
    features = tf.train.Features(feature={"image_bytes": feature})
    example = tf.train.Example(features=features).SerializeToString()
    requests = []
    for size in batch_sizes:
        images = {"images": np.full((size, *image_shape), 127, np.float32)}
        image_bytes = {"image_bytes": np.array([png] * size, object)}
        embeddings = {"embeddings": np.full((size, dim), dim**-0.5, np.float32)}
        empty = np.full((size, 1), b"", object)
        names = ("allow_ids", "exclude_ids", "allow_labels", "exclude_labels")
        filters = dict.fromkeys(names, empty)
        lines = dict.fromkeys(names, empty[:, 0])
        one_of_label = {"per_label": np.full(size, 1, np.int32)}
        requests += [
            ("serving_default", image_bytes),
            ("search_bytes", image_bytes),
            ("search_images", images),
            ("search", embeddings),
            ("search_filtered", {**embeddings, **filters}),
            ("search_filtered_bytes", {**image_bytes, **filters}),
            ("score", {**embeddings, "ids": empty}),
            ("search_filtered_lines", {**embeddings, **lines}),
            ("search_filtered_bytes_lines", {**image_bytes, **lines}),
            ("score_lines", {**embeddings, "ids": empty[:, 0]}),
            ("query", {**nothing_asked(size, dim), **image_bytes, **one_of_label}),
            ("classify", {"inputs": np.array([example] * size, object)}),
            ("embed_bytes", image_bytes),
            ("embed", images),
        ]
    return requests


def write_warmup(folder, requests):
    """Writes the warm-up file of a version.

    All records are of Predict, `classify` included: it runs the same session as the
    Classify call, and holds for every setting of the server.

    Args:
        folder: `pathlib.Path` of the version.
        requests: As `warmup_requests` returns them.
    """
    path = folder / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests:
            writer.write(_prediction_log(signature, inputs))


def read_warmup(folder):
    """Reads the warm-up file of a version back, as `write_warmup` was given it.

    Args:
        folder: `pathlib.Path` of the version.

    Returns:
        List of `(signature name, {input name: array})`.
    """
    requests = []
    for record in tf.data.TFRecordDataset(str(folder / WARMUP_FILE)):
        ((_, log),) = fields(record.numpy())
        ((_, request),) = fields(log)
        signature, inputs = None, {}
        for number, value in fields(request):
            parts = dict(fields(value))
            if number == _REQUEST_SPEC:
                signature = parts[_SPEC_SIGNATURE].decode()
            elif number == _REQUEST_INPUTS:
                tensor = TensorProto.FromString(parts[2])
                inputs[parts[1].decode()] = tf.make_ndarray(tensor)
        requests.append((signature, inputs))
    return requests


def _prediction_log(signature, inputs):
    # The server puts its own name of the model into the request.
    spec = _field(_SPEC_NAME, b"model") + _field(_SPEC_SIGNATURE, signature.encode())
    request = _field(_REQUEST_SPEC, spec)
    for name, value in inputs.items():
        tensor = tf.make_tensor_proto(value).SerializeToString()
        request += _field(_REQUEST_INPUTS, _field(1, name.encode()) + _field(2, tensor))
    return _field(_LOG_PREDICT, _field(_PREDICT_REQUEST, request))


def _field(number, data):
    """A field of bytes, a text or a message: key, length, content."""
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value):
    encoded = b""
    while value > 127:
        encoded += bytes([value & 127 | 128])
        value >>= 7
    return encoded + bytes([value])
