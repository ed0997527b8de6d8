"""Serving: a client for TF Serving, and a local server that speaks its protocol.

`Client` asks a real TF Serving or the local server for embeddings and neighbours,
over gRPC or REST; `AsyncClient` does so for `asyncio`. `LocalServer`, or `python -m
tfembed.serving MODEL_DIR`, serves an exported model on this machine, for development.
`python -m tfembed.serving.query IMAGE ...` prints and draws neighbours. None of them
needs Keras, and nothing is imported before it is used: a client that speaks REST does
without TensorFlow.
"""

from tfembed.lazy_names import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
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
        "open_image_metadata": "metadata",
        "open_thumbnails": "thumbnails",
    },
)
