"""Near duplicates among embeddings, exactly: `python -m tfembed.dedup`.

Importing this room imports no TensorFlow.
"""

from tfembed.lazy_names import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "Duplicates": "duplicates",
        "Links": "search",
        "choose_threshold": "threshold",
        "dedup_source": "command",
        "find_duplicates": "duplicates",
        "find_links": "search",
    },
)
