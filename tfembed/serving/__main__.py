"""Serves an exported model on this machine, for development.

It speaks TF Serving's gRPC and REST protocols, so that what asks it can ask a real
TF Serving on the same folder unchanged. It loads the highest version and moves on
when a higher one appears. For production run TF Serving itself.
"""

import argparse
import json
import logging
import os
import signal
import sys
import tempfile
import threading

from tfembed.serving.ports import check_free
from tfembed.serving.versions import check_model_dir


def main(arguments=None):
    """Runs the command.

    Returns:
        The exit code: 0 after SIGINT or SIGTERM, 2 if the server cannot start.
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:  # what can be told at once, before TensorFlow is imported
        check_model_dir(options.model_dir)
        for port in (options.port, options.rest_port):
            check_free(options.host, port)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    try:
        from tfembed.serving.server import LocalServer
    except ImportError as error:
        print(
            f"The server needs a package that is missing ({error}). "
            'Install it with `pip install "tfembed[serving]"`.',
            file=sys.stderr,
        )
        return 2
    try:
        server = LocalServer(
            options.model_dir,
            name=options.name,
            host=options.host,
            port=options.port,
            rest_port=options.rest_port,
            poll_seconds=options.poll_seconds,
        ).start()
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    addresses = {
        "grpc": server.grpc_address,
        "rest": server.rest_address.partition("//")[2],
    }
    print(
        f"ready model={options.name} grpc={addresses['grpc']} "
        f"rest={addresses['rest']} (for development; stop with Ctrl-C)",
        flush=True,
    )
    if options.ready_file:
        _write_whole(options.ready_file, json.dumps(addresses))
    stopped.wait()
    server.stop()
    print("stopped", flush=True)
    return 0


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m tfembed.serving",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model_dir", help="folder of versions that tfembed.export wrote"
    )
    parser.add_argument(
        "--name", default="model", help="name of the model in requests [%(default)s]"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at; the default is for this machine alone "
        "[%(default)s]",
    )
    parser.add_argument(
        "--port", type=_port, default=8500, help="gRPC; 0 takes any [%(default)s]"
    )
    parser.add_argument(
        "--rest-port", type=_port, default=8501, help="REST; 0 takes any [%(default)s]"
    )
    parser.add_argument(
        "--poll-seconds",
        type=_seconds,
        default=1.0,
        help="how often to look for a new version [%(default)s]",
    )
    parser.add_argument(
        "--ready-file",
        metavar="PATH",
        help="write the two addresses there, as JSON, once requests are answered",
    )
    return parser


def _port(text):
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"a port is 0 to 65535. Received: {text}")
    return int(text)


def _seconds(text):
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"seconds above 0, please. Received: {text}")
    return seconds


def _write_whole(path, text):
    """Writes a file beside its place and renames it, so that none reads half."""
    folder = os.path.dirname(os.path.abspath(path))
    with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
        file.write(text + "\n")
    os.replace(file.name, path)


if __name__ == "__main__":
    sys.exit(main())
