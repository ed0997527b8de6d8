"""A WSGI server for the REST API: waitress, with TF Serving's errors."""

import logging
import socket
import threading
import time

from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import create_server
from waitress.task import ErrorTask

from tfembed.serving.json_tensors import write_error

_logger = logging.getLogger("tfembed.serving")
_LINGER_SECONDS = 5.0
_IDLE_SECONDS = 60


class RestServer:
    """Answers HTTP at a port.

    Args:
        application: The WSGI application; `draining` is set on it while the server
            stops.
        host: Address to listen at.
        port: Port; 0 takes any free one.
        max_bytes: The largest body of a request. A larger one is answered by 413, by
            its declared length alone where it declares one.
        workers: How many requests are answered at a time; more wait.

    Attributes:
        host: The address that is listened at, in digits.
        port: The port that is listened at.

    Raises:
        OSError: If the port is taken.
    """

    def __init__(self, application, host, port, max_bytes, workers):
        self._application = application
        self._stopping_at = None
        self._map = {}
        self._server = create_server(
            application,
            map=self._map,
            host=host,
            port=port,
            ipv4=":" not in host,  # one socket: a name may stand for several
            ipv6=":" in host,
            threads=workers,
            ident=None,
            max_request_body_size=max_bytes + 1,  # waitress' is the first refused
            channel_timeout=_IDLE_SECONDS,
            cleanup_interval=10,
            connection_limit=1000,
            backlog=256,
            asyncore_use_poll=True,
            clear_untrusted_proxy_headers=False,
        )
        self._server.channel_class = _Channel
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        self.host = self._server.effective_host
        self.port = int(self._server.effective_port)
        self._thread = threading.Thread(target=self._run, name="rest", daemon=True)

    def start(self):
        """Begins to answer, in threads."""
        self._thread.start()

    def stop(self, grace):
        """Refuses new requests, and waits until those under way are answered.

        Args:
            grace: The most seconds to wait.
        """
        self._application.draining = True
        self._stopping_at = time.monotonic() + grace
        if self._thread.ident is None:  # never started
            self._close()
            return
        self._server.pull_trigger()
        self._thread.join()

    def _run(self):
        listening = True
        while True:
            if self._stopping_at is not None:
                if listening:
                    wasyncore.dispatcher.close(self._server)
                    listening = False
                if not self._busy() or time.monotonic() > self._stopping_at:
                    break
            seconds = 1.0 if listening else 0.05
            wasyncore.loop(seconds, use_poll=True, map=self._map, count=1)
        self._close()

    def _busy(self):
        """Whether a request is being read, answered or written."""
        return any(
            channel.requests or channel.request or channel.total_outbufs_len
            for channel in list(self._server.active_channels.values())
        )

    def _close(self):
        self._server.task_dispatcher.shutdown(timeout=1)
        self._server.trigger.close()
        wasyncore.close_all(self._map, ignore_all=True)


def too_large(limit):
    """Returns the sentence for a body that is too large."""
    return (
        f"The request must have at most {limit} bytes (--max-request-megabytes). Send "
        "fewer or smaller images at a time."
    )


class _JsonErrorTask(ErrorTask):
    """Answers a request that waitress refuses, in TF Serving's form."""

    def execute(self):
        error = self.request.error
        if error.code == 413:
            message = too_large(self.channel.adj.max_request_body_size - 1)
        else:
            message = f"{error.reason}: {error.body}"
        body = write_error(message)
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Channel(HTTPChannel):
    """A connection; where a body was refused, the client can still read why.

    Closing a connection on which there is something unread resets it, and a client that
    is still sending would lose the answer. So what comes is thrown away for a moment.
    """

    error_task_class = _JsonErrorTask
    _refused = False
    _lingers_until = None

    def send_continue(self):
        if self.request.error is None:
            super().send_continue()
        else:  # the body is not wanted
            self.request.expect_continue = False

    def service(self):
        self._refused = self.requests[0].error is not None
        super().service()

    def handle_write(self):
        ready = self.close_when_flushed and not self.total_outbufs_len
        if ready and self._refused and self._lingers_until is None:
            self.close_when_flushed = False
            self._lingers_until = time.monotonic() + _LINGER_SECONDS
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                self.will_close = True
            return
        super().handle_write()

    def readable(self):
        if self._lingers_until is None:
            return super().readable()
        if time.monotonic() > self._lingers_until:
            self.will_close = True
        return not self.will_close

    def handle_read(self):
        if self._lingers_until is None:
            super().handle_read()
            return
        try:
            if not self.recv(1 << 16):
                self.will_close = True
        except OSError:
            self.handle_close()
