"""What a run is measured by: votes among seen classes, or unseen ones' retrieval."""

from tfembed.recipes.seen_classes import SeenClasses
from tfembed.recipes.unseen_classes import UnseenClasses


def build_judge(config, data, networks):
    """Returns the `Judge` of a run: by votes, or by retrieval of unseen classes."""
    kind = SeenClasses if config.split == "seen" else UnseenClasses
    return kind(config, data, networks)
