"""Bridges to what other projects read and run.

Embeddings go into indexes of FAISS, NMSLIB and TensorFlow Similarity; the embedding job
runs on Apache Beam where a catalogue is too large for one machine. Importing this room
imports none of them: each is needed by what speaks to it alone, and a sentence says how
to install it.
"""

from tfembed.lazy_names import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "EmbedFiles": "beam",
        "embed_files": "beam",
        "read_faiss": "faiss",
        "read_nmslib": "nmslib",
        "to_tensorflow_similarity": "tensorflow_similarity",
        "write_faiss": "faiss",
        "write_nmslib": "nmslib",
    },
)
