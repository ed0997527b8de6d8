"""What an augmentation is told: which steps, and how strong each is."""

from __future__ import annotations

from typing import Any

from tfembed.ops.arguments import as_number, as_shape

__all__ = ["Strengths"]


class Strengths:
    """The arguments that all augmentations have in common, checked.

    Args:
        image_shape, crop_area, crop_aspect, brightness, contrast, saturation, hue,
            grayscale, flip: As in `tfembed.data.Augmentation`.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        crop_area: tuple[float, float] | None = (0.2, 1.0),
        crop_aspect: tuple[float, float] = (3 / 4, 4 / 3),
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.4,
        hue: float = 0.4,
        grayscale: float = 0.2,
        flip: float = 0.5,
    ) -> None:
        """Checks the strengths, and makes what they are for."""
        self.image_shape = as_shape("image_shape", image_shape, channels=(1, 3))
        crop_area = (1.0, 1.0) if crop_area is None else crop_area
        self.crop_area = _checked_range("crop_area", crop_area, largest=1.0)
        self.crop_aspect = _checked_range("crop_aspect", crop_aspect)
        note = "; 0 leaves the step out"
        self.brightness = as_number("brightness", brightness, 0, 1, note=note)
        self.contrast = as_number("contrast", contrast, 0, 1, note=note)
        self.saturation = as_number("saturation", saturation, 0, 1, note=note)
        self.hue = as_number("hue", hue, 0, 0.5, note=note)
        self.grayscale = as_number("grayscale", grayscale, 0, 1, note=note)
        self.flip = as_number("flip", flip, 0, 1, note=note)
        self._make()

    def _make(self):
        """Makes what a subclass needs besides, of the checked strengths."""

    @property
    def crops(self) -> bool:
        """Whether images are cropped."""
        return self.crop_area != (1.0, 1.0)

    @property
    def colour(self) -> bool:
        """Whether there are colours to change."""
        return self.image_shape[2] == 3

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make an equal augmentation, as a `dict`."""
        names = (
            "image_shape crop_area crop_aspect brightness contrast saturation hue "
            "grayscale flip"
        )
        return {name: getattr(self, name) for name in names.split()}

    def __repr__(self) -> str:
        """The call that makes an equal one."""
        arguments = (f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({', '.join(arguments)})"


def _checked_range(name, value, largest=float("inf")):
    try:
        lower, upper = (float(end) for end in value)
    except (TypeError, ValueError):
        lower = upper = 0.0
    if not 0.0 < lower <= upper <= largest:
        raise ValueError(
            f"`{name}` must be two numbers, 0 < lower <= upper"
            + (f" <= {largest:g}" if largest < float("inf") else "")
            + f". Received: {name}={value!r}."
        )
    return lower, upper
