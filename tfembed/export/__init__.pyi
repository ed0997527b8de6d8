"""`tfembed.export` as type checkers see it: by docs/write_stubs.py."""

from tfembed.export.card import read_card as read_card
from tfembed.export.flags import add_search_flags as add_search_flags
from tfembed.export.flags import search_options as search_options
from tfembed.export.gallery_update import update_gallery as update_gallery
from tfembed.export.heads.contract import check_head as check_head
from tfembed.export.heads.head import Head as Head
from tfembed.export.heads.head_state import HeadState as HeadState
from tfembed.export.model import check_options as check_options
from tfembed.export.model import export as export
from tfembed.export.model import export_model as export_model
from tfembed.export.run_directory import read_run as read_run
from tfembed.export.run_facts import facts_of_weights as facts_of_weights
from tfembed.export.run_facts import read_facts as read_facts
from tfembed.export.search_model import SearchModel as SearchModel
from tfembed.export.served_gallery import read_served_gallery as read_served_gallery
from tfembed.export.version_list import list_versions as list_versions
from tfembed.export.version_rollback import rollback as rollback
from tfembed.export.versions import check_base as check_base
from tfembed.export.versions import prune_versions as prune_versions

__all__ = [
    "Head",
    "HeadState",
    "SearchModel",
    "add_search_flags",
    "check_base",
    "check_head",
    "check_options",
    "export",
    "export_model",
    "facts_of_weights",
    "list_versions",
    "prune_versions",
    "read_card",
    "read_facts",
    "read_run",
    "read_served_gallery",
    "rollback",
    "search_options",
    "update_gallery",
]
