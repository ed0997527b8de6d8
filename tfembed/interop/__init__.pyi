"""`tfembed.interop` as type checkers see it: by docs/write_stubs.py."""

from tfembed.interop.beam import EmbedFiles as EmbedFiles
from tfembed.interop.beam import embed_files as embed_files
from tfembed.interop.faiss import read_faiss as read_faiss
from tfembed.interop.faiss import write_faiss as write_faiss
from tfembed.interop.nmslib import read_nmslib as read_nmslib
from tfembed.interop.nmslib import write_nmslib as write_nmslib
from tfembed.interop.tensorflow_similarity import (
    to_tensorflow_similarity as to_tensorflow_similarity,
)

__all__ = [
    "EmbedFiles",
    "embed_files",
    "read_faiss",
    "read_nmslib",
    "to_tensorflow_similarity",
    "write_faiss",
    "write_nmslib",
]
