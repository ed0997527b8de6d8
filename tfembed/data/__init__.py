"""Images by name, deterministic `tf.data` pipelines, and augmentation.

Importing this room imports no TensorFlow, keras-cv, tensorflow-datasets or Pillow:
each is imported when it is first used.
"""

import importlib

_HOMES = {
    "Augmentation": "augmentation",
    "ImageData": "image_data",
    "SOURCES": "sources",
    "Split": "split",
    "class_balanced": "balanced",
    "load_images": "load",
}

__all__ = list(_HOMES)


def __getattr__(name):
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_HOMES})
