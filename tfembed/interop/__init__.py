"""Bridges to what other projects read and run.

Embeddings go into indexes of FAISS, NMSLIB and TensorFlow Similarity; the embedding job
runs on Apache Beam where a catalogue is too large for one machine. Importing this room
imports none of them: each is needed by what speaks to it alone, and a sentence says how
to install it.
"""

import importlib

_HOMES = {
    "EmbedFiles": "beam",
    "embed_files": "beam",
    "read_faiss": "faiss",
    "read_nmslib": "nmslib",
    "to_tensorflow_similarity": "tensorflow_similarity",
    "write_faiss": "faiss",
    "write_nmslib": "nmslib",
}

__all__ = list(_HOMES)


def __getattr__(name):
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_HOMES})
