"""`tfembed.dedup` as type checkers see it: by docs/write_stubs.py."""

from tfembed.dedup.command import dedup_source as dedup_source
from tfembed.dedup.duplicates import Duplicates as Duplicates
from tfembed.dedup.duplicates import find_duplicates as find_duplicates
from tfembed.dedup.search import Links as Links
from tfembed.dedup.search import find_links as find_links
from tfembed.dedup.threshold import choose_threshold as choose_threshold

__all__ = [
    "Duplicates",
    "Links",
    "choose_threshold",
    "dedup_source",
    "find_duplicates",
    "find_links",
]
