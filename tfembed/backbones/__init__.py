"""Encoders by name; weights are downloaded only where the user names them.

Importing this room imports no TensorFlow; `build_backbone` does.
"""

from tfembed.lazy_names import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "BACKBONES": "names",
        "Encoder": "encoder",
        "Weights": "weights",
        "build_backbone": "build",
        "find_weights": "weights",
        "open_encoder": "named",
    },
)
