"""Encoders by name; weights are downloaded only where the user names them.

Importing this room imports no TensorFlow; `build_backbone` does.
"""

from tfembed.lazy_names import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "BACKBONES": "names",
        "Encoder": "encoder",
        "POOLS": "names",
        "Weights": "weights",
        "backbone_resize": "named",
        "backbone_shape": "named",
        "build_backbone": "build",
        "check_backbone": "names",
        "check_encoder": "named",
        "find_weights": "weights",
        "is_backbone": "named",
        "is_foreign": "names",
        "open_encoder": "named",
    },
)
