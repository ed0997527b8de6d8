"""`tfembed.serving` as type checkers see it: by docs/write_stubs.py."""

from tfembed.serving.async_client import AsyncClient as AsyncClient
from tfembed.serving.client import Client as Client
from tfembed.serving.errors import DeadlineExceeded as DeadlineExceeded
from tfembed.serving.errors import InvalidRequest as InvalidRequest
from tfembed.serving.errors import NotFound as NotFound
from tfembed.serving.errors import RequestTooLarge as RequestTooLarge
from tfembed.serving.errors import ServerBusy as ServerBusy
from tfembed.serving.errors import ServerUnavailable as ServerUnavailable
from tfembed.serving.errors import ServingError as ServingError
from tfembed.serving.metadata import open_image_metadata as open_image_metadata
from tfembed.serving.picture import draw_neighbors as draw_neighbors
from tfembed.serving.results import Classification as Classification
from tfembed.serving.results import Embeddings as Embeddings
from tfembed.serving.results import ModelMetadata as ModelMetadata
from tfembed.serving.results import Scores as Scores
from tfembed.serving.results import SearchResult as SearchResult
from tfembed.serving.results import Signature as Signature
from tfembed.serving.results import TensorSpec as TensorSpec
from tfembed.serving.results import VersionStatus as VersionStatus
from tfembed.serving.server import LocalServer as LocalServer
from tfembed.serving.thumbnails import open_thumbnails as open_thumbnails

__all__ = [
    "AsyncClient",
    "Classification",
    "Client",
    "DeadlineExceeded",
    "Embeddings",
    "InvalidRequest",
    "LocalServer",
    "ModelMetadata",
    "NotFound",
    "RequestTooLarge",
    "Scores",
    "SearchResult",
    "ServerBusy",
    "ServerUnavailable",
    "ServingError",
    "Signature",
    "TensorSpec",
    "VersionStatus",
    "draw_neighbors",
    "open_image_metadata",
    "open_thumbnails",
]
