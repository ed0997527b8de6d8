"""A local server for development that speaks TF Serving's gRPC and REST."""

import logging
import threading
from concurrent import futures

import grpc
from werkzeug.serving import WSGIRequestHandler, make_server

from tfembed.serving.grpc_service import add_services
from tfembed.serving.ports import check_free, taken
from tfembed.serving.rest import RestApplication
from tfembed.serving.servable import Servable
from tfembed.serving.versions import Models, ModelVersions

_logger = logging.getLogger("tfembed.serving")
_GRPC_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.so_reuseport", 0),
)


class LocalServer:
    """Serves the highest version of an exported model on this machine.

    It answers what TF Serving answers to Predict, GetModelMetadata and
    GetModelStatus, over gRPC and over REST; other methods are UNIMPLEMENTED. It is
    for development: it has no batching, no encryption and no limits on requests.
    A version that appears in the folder is loaded while the one before it goes on
    answering.

    Use it as a context manager, or call `start` and `stop`.

    Args:
        model_dir: The folder whose children are versions, named by numbers.
        name: Name of the model in requests.
        host: Address to listen at. The default can be reached from this machine
            alone.
        port: Port of gRPC; 0 takes any free one.
        rest_port: Port of REST; 0 takes any free one.
        poll_seconds: How often the folder is looked at.
        workers: How many gRPC requests are answered at a time.

    Attributes:
        grpc_address: `"host:port"`, once started.
        rest_address: `"http://host:port"`, once started.

    Raises:
        ValueError: If the folder holds no version.
    """

    def __init__(
        self,
        model_dir,
        name="model",
        host="127.0.0.1",
        port=8500,
        rest_port=8501,
        poll_seconds=1.0,
        workers=16,
    ):
        self._versions = ModelVersions(name, model_dir, Servable, poll_seconds)
        self._models = Models([self._versions])
        self._host = host
        self._ports = port, rest_port
        self._workers = workers
        self._grpc = self._rest = self._rest_thread = None
        self.grpc_address = self.rest_address = None

    def start(self):
        """Loads the model and begins to answer.

        Returns:
            The server itself.

        Raises:
            ValueError: If the model does not load.
            OSError: If a port is taken.
        """
        port, rest_port = self._ports
        host = f"[{self._host}]" if ":" in self._host else self._host
        for wanted in self._ports:  # before the model is loaded, which takes time
            check_free(self._host, wanted)
        self._versions.start()
        try:
            self._grpc = grpc.server(
                futures.ThreadPoolExecutor(self._workers, "grpc"),
                options=_GRPC_OPTIONS,
            )
            add_services(self._models, self._grpc)
            port = _bind(self._grpc, host, port)
            self._rest = make_server(
                self._host,
                rest_port,
                RestApplication(self._models),
                threaded=True,
                request_handler=_RequestHandler,
            )
        except BaseException:
            self.stop()
            raise
        self._grpc.start()
        self._rest_thread = threading.Thread(
            target=self._rest.serve_forever, name="rest", daemon=True
        )
        self._rest_thread.start()
        self.grpc_address = f"{host}:{port}"
        self.rest_address = f"http://{host}:{self._rest.server_port}"
        return self

    def stop(self, grace=5.0):
        """Stops answering; gRPC requests under way have `grace` seconds to end."""
        self._versions.stop()
        if self._grpc is not None:
            self._grpc.stop(grace).wait()
        if self._rest_thread is not None:
            self._rest.shutdown()
            self._rest_thread.join()
        if self._rest is not None:
            self._rest.server_close()
        self._grpc = self._rest = self._rest_thread = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *exception):
        self.stop()


class _RequestHandler(WSGIRequestHandler):
    """Keeps connections open, sends at once, and logs quietly."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log(self, type, message, *args):
        _logger.debug(message, *args)


def _bind(server, host, port):
    try:
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise taken(host, port, error) from error
    if not bound:
        raise taken(host, port, "not bound")
    return bound
