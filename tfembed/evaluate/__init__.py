"""How good an embedding is, with intervals: `python -m tfembed.evaluate`.

Importing this room imports no TensorFlow.
"""

from tfembed.lazy_names import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "Rows": "subject",
        "Subject": "subject",
        "evaluate": "measured",
        "find_subject": "subject",
    },
)
