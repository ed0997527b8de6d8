"""What a list says of each image of a served gallery, looked up by id."""

import os

from tfembed.formats.image_metadata import read_metadata
from tfembed.formats.version_folders import find_versions, is_one_version
from tfembed.serving.versions import check_model_dir

__all__ = ["open_image_metadata"]


def open_image_metadata(path):
    """Opens the further columns of an export's gallery.

    It is the further columns of a list of images (`csv:FILE`), or the `metadata` that
    `tfembed.export.export` was given. It stands in a file of the version, so that no
    request is needed for it; TF Serving does not serve it.

    ```python
    about = open_image_metadata("models/photos")
    for name, texts in zip(result.ids[0], about(result.ids[0])):
        print(name, texts.get("price"))
    ```

    >>> import os, tempfile
    >>> from tfembed.serving import open_image_metadata
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     os.mkdir(os.path.join(folder, "1"))  # a version without further columns
    ...     about = open_image_metadata(folder)
    ...     about(["a.png"])
    [{}]

    Args:
        path: Folder of one version, or of a model's versions, of which the newest is
            opened.

    Returns:
        Function of a list of `n` ids that returns a list of `n` dictionaries of a
        column's name to its text: empty for an image of which nothing is said, and for
        an id that is not there. It reads the file at each call, and may be called from
        any thread.

    Raises:
        ValueError: If there is no such folder; when called, if the file is damaged.
    """
    path = os.fspath(path)
    if not is_one_version(path):
        check_model_dir(path)
        found = find_versions(path)
        path = found[max(found)]
    return lambda ids: read_metadata(path, ids)
