"""Serving: a client for TF Serving, and a local server that speaks its protocol.

`Client` asks a real TF Serving or the local server for embeddings and neighbours,
over gRPC or REST; `AsyncClient` does so for `asyncio`. `LocalServer`, or `python -m
tfembed.serving MODEL_DIR`, serves an exported model on this machine, for development.
`python -m tfembed.serving.query IMAGE ...` prints and draws neighbours. None of them
needs Keras, and nothing is imported before it is used: a client that speaks REST does
without TensorFlow.
"""

import importlib

_HOMES = {
    "AsyncClient": "async_client",
    "Classification": "results",
    "Client": "client",
    "DeadlineExceeded": "errors",
    "Embeddings": "results",
    "InvalidRequest": "errors",
    "LocalServer": "server",
    "ModelMetadata": "results",
    "NotFound": "errors",
    "RequestTooLarge": "errors",
    "Scores": "results",
    "SearchResult": "results",
    "ServerBusy": "errors",
    "ServerUnavailable": "errors",
    "ServingError": "errors",
    "Signature": "results",
    "TensorSpec": "results",
    "VersionStatus": "results",
    "draw_neighbors": "picture",
    "open_thumbnails": "thumbnails",
}

__all__ = sorted(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__():
    return __all__
