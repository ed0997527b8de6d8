"""Writes SavedModels that a stock TensorFlow server answers neighbour searches with.

`export_model` takes a finished run directory (an encoder and a gallery) and adds
the next version to a folder that TF Serving watches. The same from a shell:

    python -m tfembed.export model RUN_DIR MODEL_BASE

The top-level folder `export/` is the other half: what a server's deployment reads.
Importing this package does not import TensorFlow.
"""

import importlib

_HOMES = {
    "SearchModel": "tfembed.export.search_model",
    "export": "tfembed.export.model",
    "export_model": "tfembed.export.model",
    "list_versions": "tfembed.export.version_list",
    "prune_versions": "tfembed.export.versions",
    "read_served_gallery": "tfembed.export.served_gallery",
    "rollback": "tfembed.export.version_rollback",
    "update_gallery": "tfembed.export.gallery_update",
    "read_run": "tfembed.export.run_directory",
}

__all__ = list(_HOMES)


def __getattr__(name):
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tfembed.export' has no attribute {name!r}")
