"""What `load_images` passes on to a source."""

import dataclasses
from typing import Any, Optional

from tfembed.hints import PathLike

__all__ = ["Request", "Source"]


@dataclasses.dataclass(frozen=True)
class Request:
    """The arguments of `load_images`, checked; their meaning is told there."""

    data_dir: Optional[PathLike] = None
    limit: Optional[int] = None
    test_limit: Optional[int] = None
    image_size: Optional[tuple[int, int]] = None
    channels: Optional[int] = None
    split: str = "seen"
    holdout: int = 0
    strict: bool = False
    seed: int = 0
    resize: str = "squash"


@dataclasses.dataclass(frozen=True)
class Source:
    """What a source found, before any image is chosen.

    Attributes:
        train: `Split` of the images to train on.
        test: `Split` of the images to evaluate on, or `None`.
        class_names: Tuple of strings, or `None`.
        ordered: Whether the order of the training images means something (sorted by
            class), so that "the first N" must be a seeded choice instead.
        validation: `Split` of the images to choose settings by, or `None`.
        taken: What was taken as what, a sentence without its end; empty where there
            is nothing to say.
    """

    train: Any
    test: Any = None
    class_names: Optional[tuple[str, ...]] = None
    ordered: bool = False
    validation: Any = None
    taken: str = ""
