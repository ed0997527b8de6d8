"""A local server for development that speaks TF Serving's gRPC and REST."""

import ipaddress
import logging
import os
import threading
from concurrent import futures

import grpc

from tfembed.ops.arguments import as_count, as_number
from tfembed.serving import warmup
from tfembed.serving.grpc_service import add_services
from tfembed.serving.hosts import AllowedHosts
from tfembed.serving.metrics import Metrics
from tfembed.serving.model_config import (
    ModelConfig,
    model_configs,
    read_model_config,
)
from tfembed.serving.models import Models
from tfembed.serving.page import pages
from tfembed.serving.ports import check_free, taken
from tfembed.serving.rest import RestApplication
from tfembed.serving.rest_server import RestServer
from tfembed.serving.servable import Servable
from tfembed.serving.status import StatusError
from tfembed.serving.versions import check_model_dir, printable

_logger = logging.getLogger("tfembed.serving")


class LocalServer:
    """Serves exported models on this machine, as TF Serving would.

    It answers Predict, Classify, Regress, MultiInference, GetModelMetadata,
    GetModelStatus and HandleReloadConfigRequest over gRPC, and their REST forms, with
    TF Serving's codes and messages; `/monitoring/prometheus/metrics` tells what
    happened. It is for development: it has no batching and no encryption. A version
    that appears in a model's folder is loaded while the one before it goes on
    answering, and replays its warm-up records first.

    Use it as a context manager, or call `start` and `stop`.

    >>> import os, tempfile
    >>> from tfembed.serving import Client, LocalServer
    >>> class Halves(tf.Module):
    ...     @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    ...     def half(self, x):
    ...         return {"y": x / 2}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     module = Halves()
    ...     tf.saved_model.save(module, os.path.join(folder, "1"), module.half)
    ...     with LocalServer(folder, "halves", port=0, rest_port=0) as server:
    ...         with Client(server.grpc_address, "halves") as client:
    ...             client.status(), client.predict({"x": np.float32([1, 4])})
    ([VersionStatus(version=1, state='AVAILABLE', ...)], {'y': array([0.5, 2. ], ...)})

    Args:
        model_dir: The folder whose children are versions, named by numbers. None if
            `models` or `model_config_file` says what to serve.
        name: Name of the model in requests.
        host: Address to listen at. The default can be reached from this machine
            alone.
        port: Port of gRPC; 0 takes any free one.
        rest_port: Port of REST; 0 takes any free one.
        poll_seconds: How often the folders are looked at.
        workers: How many requests are answered at a time by each protocol; more wait.
        models: Dictionary of name to folder, for more models.
        model_config_file: Path of a model config file as TF Serving takes it, instead
            of `model_dir` and `models`.
        model_config_poll_seconds: How often that file is read again; 0 is never.
        allow_version_labels_for_unavailable_models: Whether the config may give a
            label to a version that is not loaded yet. TF Serving has the same flag,
            and without it refuses labels in the file that it starts with.
        max_request_megabytes: The largest request, in 10^6 bytes. A larger one is
            refused before its body is read: RESOURCE_EXHAUSTED, or 413.
        max_image_megapixels: The most pixels, in millions, that an encoded image may
            declare in its header. A request with one that declares more is refused
            before anything is decoded: INVALID_ARGUMENT. None leaves it to the model,
            as TF Serving does: an export makes the row of such an image not valid.
        max_num_load_retries: How often a version that does not load is tried again, as
            its files may still be arriving. TF Serving has the same flag.
        load_retry_seconds: The least seconds between two attempts.
        images: Pictures of the gallery, for the page on `/`: a `thumbnails.npz` of a
            run or a folder in which ids are files, for all models, or a dictionary of a
            model's name to one.
        allowed_hosts: Further names under which the page may be asked for, besides
            those of this machine for itself and the address that is listened at; see
            `tfembed.serving.hosts`. What TF Serving answers, too, is answered under
            any name.

    Attributes:
        grpc_address: `"host:port"`, once started.
        rest_address: `"http://host:port"`, once started.
        model_names: Names of the models that are served now.

    Raises:
        ValueError: If a folder holds no version, or the arguments make no sense.
    """

    def __init__(
        self,
        model_dir=None,
        name="model",
        host="127.0.0.1",
        port=8500,
        rest_port=8501,
        poll_seconds=1.0,
        workers=16,
        *,
        models=None,
        model_config_file=None,
        model_config_poll_seconds=0.0,
        allow_version_labels_for_unavailable_models=False,
        max_request_megabytes=128,
        max_image_megapixels=None,
        max_num_load_retries=5,
        load_retry_seconds=60.0,
        images=None,
        allowed_hosts=(),
    ):
        self._config_file = model_config_file
        self._config_poll_seconds = model_config_poll_seconds
        self._configs = _configs(model_dir, name, models, model_config_file)
        self._max_bytes = round(
            as_number("max_request_megabytes", max_request_megabytes, above=0) * 1e6
        )
        self._max_pixels = None
        if max_image_megapixels is not None:
            pixels = as_number("max_image_megapixels", max_image_megapixels, above=0)
            self._max_pixels = pixels * 1e6
        self._models = Models(
            self._load,
            as_number("poll_seconds", poll_seconds, above=0),
            allow_version_labels_for_unavailable_models,
            as_count("max_num_load_retries", max_num_load_retries, 0),
            as_number("load_retry_seconds", load_retry_seconds, 0),
        )
        self._metrics = None
        self._hosts = AllowedHosts(host, allowed_hosts)
        self._pages = pages(self._models, self._hosts, images)
        self._host = host
        self._ports = port, rest_port
        self._workers = workers
        self._stopping = threading.Event()
        self._grpc = self._rest = self._config_poller = None
        self.grpc_address = self.rest_address = None

    @property
    def model_names(self):
        return self._models.names()

    def start(self):
        """Loads the models and begins to answer.

        Returns:
            The server itself.

        Raises:
            ValueError: If a model does not load, or the model config is refused.
            OSError: If a port is taken.
        """
        port, rest_port = self._ports
        host = f"[{self._host}]" if ":" in self._host else self._host
        for wanted in self._ports:  # before the models are loaded, which takes time
            check_free(self._host, wanted)
        if not is_loopback(self._host):
            _logger.warning(
                "listening at %s: other machines may reach this server, which is for "
                "development and has neither encryption nor passwords",
                self._host,
            )
        self._metrics = metrics = Metrics(self._models)
        try:
            self._models.replace(self._configs)
        except StatusError as error:
            raise ValueError(self._cannot_serve(error)) from error
        try:
            self._grpc = grpc.server(
                futures.ThreadPoolExecutor(self._workers, "grpc"),
                options=(
                    ("grpc.max_send_message_length", -1),
                    ("grpc.max_receive_message_length", self._max_bytes),
                    ("grpc.so_reuseport", 0),
                ),
            )
            add_services(self._models, metrics, self.reload_config, self._grpc)
            port = _bind(self._grpc, host, port)
            application = RestApplication(
                self._models, metrics, self._max_bytes, self._pages
            )
            try:
                self._rest = RestServer(
                    application, self._host, rest_port, self._max_bytes, self._workers
                )
            except OSError as error:
                raise taken(self._host, rest_port, error) from error
            self._hosts.add(self._rest.host)
        except BaseException:
            self.stop()
            raise
        self._grpc.start()
        self._rest.start()
        if self._config_file is not None and self._config_poll_seconds:
            self._config_poller = threading.Thread(
                target=self._poll_config, name="poll-config", daemon=True
            )
            self._config_poller.start()
        self.grpc_address = f"{host}:{port}"
        self.rest_address = f"http://{host}:{self._rest.port}"
        return self

    def stop(self, grace=30.0):
        """Refuses new requests, and waits for those under way.

        Args:
            grace: The most seconds to wait.
        """
        self._stopping.set()
        if self._config_poller is not None:
            self._config_poller.join()
        ended = self._grpc.stop(grace) if self._grpc is not None else None
        if self._rest is not None:
            self._rest.stop(grace)
        if ended is not None:
            ended.wait()
        self._models.close()
        self._grpc = self._rest = self._config_poller = None

    def reload_config(self, config):
        """Serves the models of a `ModelServerConfig`, and no others.

        Args:
            config: The protobuf message, as HandleReloadConfigRequest takes it.

        Raises:
            StatusError: With the code and text TF Serving would answer. Then nothing
                has changed.
        """
        self._models.replace(model_configs(config))

    def __enter__(self):
        return self.start()

    def __exit__(self, *exception):
        self.stop()

    def _load(self, path, version):
        servable = Servable(path, version, self._max_pixels)
        warmup.replay(servable, path, self._metrics)
        return servable

    def _cannot_serve(self, error):
        advice = ""
        if error.code == "FAILED_PRECONDITION":  # a label
            advice = (
                " Give --allow-version-labels-for-unavailable-models, as TF Serving's "
                "flag of that name, or the labels once the versions are loaded."
            )
        elif error.message.startswith("Could not find base path"):
            advice = (
                " A base path is the folder as this process sees it: in a copy of a "
                "config that was written for a container, write the path here."
            )
        message = printable(error.message)
        return f"The models cannot be served: {message}.{advice}"

    def _poll_config(self):
        """Reads the config file repeatedly; a bad one is logged once."""
        told = None
        while not self._stopping.wait(self._config_poll_seconds):
            try:
                configs = read_model_config(self._config_file)
                if configs != self._configs:
                    self._models.replace(configs)
                    self._configs = configs
                told = None
            except (StatusError, ValueError) as error:
                said = printable(str(error))
                if said != told:
                    told = said
                    _logger.error("the model config was not taken over: %s", told)


def is_loopback(host):
    """Whether an address is for this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _configs(model_dir, name, models, model_config_file):
    """Returns the `ModelConfig`s that the arguments ask for."""
    folders = dict(models or {})
    if model_dir is not None:
        folders = {name: model_dir, **folders}
    if (model_config_file is None) == (not folders):
        raise ValueError(
            "Give folders of models (`model_dir`, `models`) or a `model_config_file`, "
            f"one of the two. Received: model_dir={model_dir!r}, models={models!r}, "
            f"model_config_file={model_config_file!r}."
        )
    if model_config_file is not None:
        return read_model_config(model_config_file)
    for folder in folders.values():
        check_model_dir(os.fspath(folder))
    return [
        ModelConfig(each, os.path.abspath(folder)) for each, folder in folders.items()
    ]


def _bind(server, host, port):
    try:
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise taken(host, port, error) from error
    if not bound:
        raise taken(host, port, "not bound")
    return bound
