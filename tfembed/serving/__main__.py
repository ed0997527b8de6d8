"""Serves exported models on this machine, for development.

It speaks TF Serving's gRPC and REST protocols, so that what asks it can ask a real
TF Serving on the same folders unchanged. It loads the highest version of each model and
moves on when a higher one appears. For production run TF Serving itself.
"""

import argparse
import json
import logging
import os
import signal
import sys
import threading

from tfembed.command_line import CommandLine
from tfembed.formats.disk import written_beside
from tfembed.quiet_imports import quiet_start
from tfembed.serving.ports import check_free
from tfembed.serving.versions import check_model_dir


def main(arguments=None):
    """Runs the command.

    Returns:
        The exit code: 0 after SIGINT or SIGTERM, 2 if the server cannot start.
    """
    parser = _parser()
    options = parser.parse_intermixed_args(arguments)
    models = _models(parser, options)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    quiet_start()
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:  # what can be told at once, before TensorFlow is imported
        for folder in models.values():
            check_model_dir(folder)
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
            models=models,
            model_config_file=options.model_config_file,
            model_config_poll_seconds=options.model_config_poll_seconds,
            allow_version_labels_for_unavailable_models=options.allow_labels,
            host=options.host,
            port=options.port,
            rest_port=options.rest_port,
            poll_seconds=options.poll_seconds,
            max_num_load_retries=options.max_num_load_retries,
            load_retry_seconds=options.load_retry_seconds,
            max_request_megabytes=options.max_request_megabytes,
            max_image_megapixels=options.max_image_megapixels,
            images=_images(options.images),
            allowed_hosts=options.allowed_host,
        ).start()
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    addresses = {
        "grpc": server.grpc_address,
        "rest": server.rest_address.partition("//")[2],
    }
    print(
        f"ready model={','.join(server.model_names)} grpc={addresses['grpc']} "
        f"rest={addresses['rest']} (for development; try it at "
        f"{server.rest_address}/ and stop with Ctrl-C)",
        flush=True,
    )
    if options.ready_file:
        with written_beside(options.ready_file, shared=True) as beside:
            with open(beside, "w", encoding="utf-8") as file:
                file.write(json.dumps(addresses) + "\n")
    stopped.wait()
    server.stop()
    print("stopped", flush=True)
    return 0


def _models(parser, options):
    """Returns the dictionary of name to folder that the arguments ask for."""
    if options.model_config_file:
        if options.model_base or options.name:
            parser.error(
                "--model-config-file says what is served; give no MODEL_BASE and no "
                f"--name with it. Received: {' '.join(options.model_base)}"
            )
        return {}
    if not options.model_base:
        parser.error("give at least one MODEL_BASE, or --model-config-file")
    if len(options.model_base) > 1 and options.name:
        parser.error("--name is for one model; write NAME=PATH for each of several")
    models = {}
    for given in options.model_base:
        name, mark, path = given.partition("=")
        if not mark or os.path.isdir(given):
            path = given
            name = os.path.basename(os.path.abspath(path))
            if len(options.model_base) == 1:
                name = "model"
        name = options.name or name
        if not name or set(name) & set("/:"):
            parser.error(f"a name must not have / or : in it. Received: {given}")
        if name in models:
            parser.error(
                f"two models have the name {name}; write NAME=PATH. Received: {given}"
            )
        models[name] = path
    return models


def _images(given):
    """Returns what `--images` says: a path for all models, or one by name."""
    named = {}
    for each in given or ():
        name, mark, path = each.partition("=")
        if not mark or os.path.exists(each):
            if len(given) > 1:
                raise ValueError(
                    "--images must be NAME=PATH where there are several models. "
                    f"Received: {each!r}."
                )
            return each
        named[name] = path
    return named or None


def _parser():
    parser = CommandLine(
        prog="python -m tfembed.serving",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model_base",
        metavar="MODEL_BASE",
        nargs="*",
        help="folder of versions that tfembed.export wrote, or NAME=FOLDER; without a "
        "name, one model is called 'model', several by their folders",
    )
    parser.add_argument("--name", help="name of the one model in requests [model]")
    parser.add_argument(
        "--model-config-file",
        metavar="PATH",
        help="what to serve, as TF Serving's --model_config_file: names, base paths, "
        "version policies and labels",
    )
    parser.add_argument(
        "--model-config-poll-seconds",
        type=_seconds_or_never,
        default=0.0,
        help="how often to read that file again; 0 is never [%(default)s]",
    )
    parser.add_argument(
        "--allow-version-labels-for-unavailable-models",
        dest="allow_labels",
        action="store_true",
        help="let the file give labels to versions that are not loaded yet, as at the "
        "start; TF Serving has the same flag",
    )
    _add_address_flags(parser)
    _add_loading_flags(parser)
    _add_limit_flags(parser)
    _add_page_flags(parser)
    return parser


def _add_address_flags(parser):
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
        "--ready-file",
        metavar="PATH",
        help="write the two addresses there, as JSON, once requests are answered",
    )


def _add_loading_flags(parser):
    parser.add_argument(
        "--poll-seconds",
        type=_seconds,
        default=1.0,
        help="how often to look for new versions [%(default)s]",
    )
    parser.add_argument(
        "--max-num-load-retries",
        type=_count,
        default=5,
        help="how often a version that does not load is tried again: its files may "
        "still be arriving; TF Serving has the same flag [%(default)s]",
    )
    parser.add_argument(
        "--load-retry-seconds",
        type=_seconds_or_never,
        default=60.0,
        help="seconds between two attempts, at least [%(default)s]",
    )


def _add_limit_flags(parser):
    parser.add_argument(
        "--max-request-megabytes",
        type=_above_zero,
        default=128.0,
        help="larger requests are refused unread [%(default)s]",
    )
    parser.add_argument(
        "--max-image-megapixels",
        type=_above_zero,
        help="requests with an image that declares more are refused undecoded; without "
        "it the model decides, as under TF Serving: an export makes that one row not "
        "valid",
    )


def _add_page_flags(parser):
    parser.add_argument(
        "--images",
        action="append",
        metavar="[NAME=]PATH",
        help="pictures for the page on /: thumbnails.npz of the run, or the folder of "
        "the gallery's images; NAME= for one of several models",
    )
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name of this machine under which the page may be asked for; "
        "may be given more than once",
    )


def _port(text):
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be from 0 to 65535. Received: {text}")
    return int(text)


def _count(text):
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"must be 0, 1, 2, ... Received: {text}")
    return int(text)


def _number(text):
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _seconds(text):
    if not 0.0 < _number(text) < float("inf"):
        raise argparse.ArgumentTypeError(f"must be seconds above 0. Received: {text}")
    return float(text)


def _seconds_or_never(text):
    if not 0.0 <= _number(text) < float("inf"):
        raise argparse.ArgumentTypeError(f"must be seconds, or 0. Received: {text}")
    return float(text)


def _above_zero(text):
    if not 0.0 < _number(text) < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0. Received: {text}")
    return float(text)


if __name__ == "__main__":
    sys.exit(main())
