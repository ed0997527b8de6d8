"""Replays the requests that a version brings along to be warm when it is served."""

import os
import time

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from tfembed.serving import examples
from tfembed.serving.grpc_service import predict
from tfembed.serving.raw_status import from_bytes
from tfembed.serving.status import StatusError, invalid_argument

RECORDS = os.path.join("assets.extra", "tf_serving_warmup_requests")
_MOST_RECORDS = 1000


def replay(servable, path, recorded=None):
    """Runs the records of a version; as in TF Serving, one that fails is an error.

    Args:
        servable: The `Servable`, loaded.
        path: The folder of the version.
        recorded: The `Metrics` to record in, or None.

    Raises:
        StatusError: If a record cannot be read or run, or there are too many.
    """
    file = os.path.join(path, RECORDS)
    if not os.path.exists(file):
        return
    started = time.perf_counter()
    count, damage = 0, None
    try:
        for record in tf.data.TFRecordDataset(file).as_numpy_iterator():
            _run(servable, _parse(record, file))
            count += 1
            if count > _MOST_RECORDS:
                raise invalid_argument(
                    "Number of warmup records exceeds the maximum "
                    f"({_MOST_RECORDS}) at {file}"
                )
    except tf.errors.DataLossError as error:
        damage = error.message.partition(" [Op:")[0]
    if recorded is not None:  # TF Serving does not tell of records that failed
        status = "OK" if damage is None else f"DATA_LOSS: {damage}"
        seconds = time.perf_counter() - started
        recorded.record_warmup(path, status, count, seconds)
    if damage is not None:
        raise StatusError(
            "DATA_LOSS",
            f"{damage}. Please verify your warmup data is in TFRecord format.",
        )


def _parse(record, file):
    try:
        return prediction_log_pb2.PredictionLog.FromString(record)
    except DecodeError as error:  # the message quotes it, whatever it is
        said = f"Failed to parse warmup record: {from_bytes(record)} from {file}"
        raise invalid_argument(said) from error


def _run(servable, log):
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        predict(servable, log.predict_log.request)
    elif kind == "classify_log":
        examples.classify(servable, log.classify_log.request)
    elif kind == "regress_log":
        examples.regress(servable, log.regress_log.request)
    elif kind == "multi_inference_log":
        examples.multi_inference(servable, log.multi_inference_log.request)
    elif kind is not None:
        raise StatusError("UNIMPLEMENTED", f"Unsupported log_type for warmup: {kind}")
