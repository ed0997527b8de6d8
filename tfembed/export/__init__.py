"""Writes SavedModels that a stock TensorFlow server answers neighbour searches with.

`export_model` takes a finished run directory (an encoder and a gallery) and adds
the next version to a folder that TF Serving watches. The same from a shell:

    python -m tfembed.export model RUN_DIR MODEL_BASE

The top-level folder `export/` is the other half: what a server's deployment reads.
Importing this package does not import TensorFlow.
"""

from tfembed.lazy_names import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "SearchModel": "search_model",
        "export": "model",
        "export_model": "model",
        "list_versions": "version_list",
        "prune_versions": "versions",
        "read_served_gallery": "served_gallery",
        "rollback": "version_rollback",
        "update_gallery": "gallery_update",
        "read_run": "run_directory",
    },
)
