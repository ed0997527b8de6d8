"""Names of versions: who writes them and who serves them count alike."""

import pytest

from tfembed.export.versions import version_paths
from tfembed.formats.version_folders import (
    find_versions,
    is_one_version,
    version_numbers,
)
from tfembed.serving.versions import check_model_dir

NAMES = ["1", "007", " 3", "+5", "-2", "10", ".tfembed-staging-9", "2.tmp", "1e3", "x"]


def test_folders_named_by_numbers_are_versions(tmp_path):
    for name in NAMES:
        (tmp_path / name).mkdir()
    (tmp_path / "12").write_text("a file")
    named = {-2: "-2", 1: "1", 3: " 3", 5: "+5", 7: "007", 10: "10"}
    assert list(find_versions(tmp_path).items()) == [
        (number, str(tmp_path / name)) for number, name in named.items()
    ]
    assert version_paths(tmp_path) == {
        number: tmp_path / name for number, name in named.items()
    }
    assert version_numbers(tmp_path) == [*named, 12]  # a file's number is taken
    check_model_dir(str(tmp_path))


def test_a_version_is_not_the_folder_above_it(tmp_path):
    (tmp_path / "1").mkdir()
    assert not is_one_version(tmp_path / "1") and not is_one_version(tmp_path / "2")
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"")
    assert is_one_version(tmp_path / "1") and not is_one_version(tmp_path)
    for refuse in (version_paths, check_model_dir):
        with pytest.raises(ValueError, match="Give the folder above it"):
            refuse(str(tmp_path / "1"))
