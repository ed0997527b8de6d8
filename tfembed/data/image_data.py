"""What `load_images` returns."""

import dataclasses
from typing import Optional

from tfembed.data.split import Split

__all__ = ["ImageData"]


@dataclasses.dataclass(frozen=True)
class ImageData:
    """Images to train on and images to evaluate on.

    >>> from tfembed.data import load_images
    >>> data = load_images("synthetic", limit=100, test_limit=20)
    >>> data.train.size, data.test.size, len(data.class_names)
    (100, 20, 10)

    Attributes:
        name: The source, as it was asked for.
        image_shape: `(height, width, channels)` of every image.
        class_names: The classes' names, label by label; `None` without labels.
        train: The images to train on.
        test: The images to evaluate on; `None` if there are none.
        validation: The images to choose settings by, or when to stop, which are
            neither trained on nor reported; `None` if there are none.
        taken: What of the source was taken as what, in words; may be empty.
    """

    name: str
    image_shape: tuple[int, int, int]
    class_names: Optional[tuple[str, ...]]
    train: Split
    test: Optional[Split]
    validation: Optional[Split] = None
    taken: str = ""
