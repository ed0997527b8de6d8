"""Ports to listen at, and a sentence when one is taken."""

import socket


def check_free(host, port):
    """Raises an `OSError` with a sentence if nothing can listen at a port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise taken(host, port, error) from error


def taken(host, port, reason):
    """Returns the `OSError` for a port that cannot be listened at."""
    return OSError(
        f"Cannot listen at {host}:{port} ({reason}). Stop what listens there, or "
        "choose other ports with --port and --rest-port (0 takes any free one)."
    )
