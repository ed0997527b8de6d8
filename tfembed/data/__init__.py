"""Images by name, `tf.data` pipelines, augmentation; embeddings on disk.

Importing this room imports no TensorFlow, keras-cv, tensorflow-datasets or Pillow:
each is imported when it is first used.
"""

import importlib

_HOMES = {
    "Augmentation": "augmentation",
    "EmbeddingFiles": "tfembed.formats.embeddings",
    "Embeddings": "tfembed.formats.embeddings",
    "ImageData": "image_data",
    "SOURCES": "sources",
    "Split": "split",
    "class_balanced": "balanced",
    "load_images": "load",
    "read_embeddings": "tfembed.formats.embeddings",
}

__all__ = list(_HOMES)


def __getattr__(name):
    if name in _HOMES:
        home = _HOMES[name]
        home = home if home.startswith("tfembed.") else f"{__name__}.{home}"
        return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_HOMES})
