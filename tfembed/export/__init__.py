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
        "Head": "heads.head",
        "HeadState": "heads.head_state",
        "SearchModel": "search_model",
        "add_search_flags": "flags",
        "check_base": "versions",
        "check_head": "heads.contract",
        "check_options": "model",
        "export": "model",
        "export_model": "model",
        "facts_of_weights": "run_facts",
        "list_versions": "version_list",
        "prune_versions": "versions",
        "read_card": "card",
        "read_facts": "run_facts",
        "read_run": "run_directory",
        "read_served_gallery": "served_gallery",
        "rollback": "version_rollback",
        "search_options": "flags",
        "update_gallery": "gallery_update",
    },
)
