"""The numbers of the formats that are written, and the refusal of newer ones.

`docs/architecture.md` says what each format promises, and what may change without a new
number. What has no number was written before there were any, and is of format 1.
"""

__all__ = ["EMBEDDINGS", "EXPORT", "FORMAT", "RUN", "check_format"]

FORMAT = "format_version"  # the key of the number in each of these files
RUN = 1  # a run directory: `config.json`
EXPORT = 1  # a version of an export: `card.json`, `assets.extra/tfembed.json`
EMBEDDINGS = 1  # embeddings: `manifest.json`, and `manifest` inside of an archive


def check_format(content, newest, name):
    """Returns the number of the format that a file says it is of.

    Args:
        content: What was read from the file; without a number, or no dictionary, it
            counts as format 1.
        newest: The newest format that this version of tfembed knows, such as `RUN`.
        name: What to call the file in an error.

    Raises:
        ValueError: If the format is newer, or is no number from 1.
    """
    number = content.get(FORMAT, 1) if isinstance(content, dict) else 1
    if type(number) is not int or number < 1:
        raise ValueError(
            f"{name!r} must have a `{FORMAT}` that is an integer from 1. "
            f"Received: {number!r}. Use the version of tfembed that wrote it."
        )
    if number > newest:
        raise ValueError(
            f"{name!r} must be of format {newest} at most, the newest that this "
            f"version of tfembed reads. Received: format {number}. Update tfembed, or "
            "use the version that wrote it."
        )
    return number
