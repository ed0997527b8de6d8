"""What is said of images beside a version: written, changed, read, damaged."""

import json
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tfembed.formats.image_metadata import (
    FILE,
    read_metadata,
    update_metadata,
    write_metadata,
)

IDS = ["a.png", "נעל/b'\"; DROP TABLE metadata.png", "c#?%20.png", "d.png"]
BRAND = ["Acme", "<b>ü</b>", "", ""]
NOTE = ["", "\ud800 \u202e", "x" * 50_000, ""]
SAID = [{"brand": "Acme"}, {"brand": BRAND[1], "note": NOTE[1]}, {"note": NOTE[2]}, {}]


@pytest.fixture
def version(tmp_path):
    folder = tmp_path / "model's #1?%"
    columns = write_metadata(folder, IDS, {"brand": BRAND, "note": NOTE})
    assert columns == ["brand", "note"]
    return folder


def test_what_is_said_of_each(version):
    assert read_metadata(version, IDS) == SAID
    assert read_metadata(version, ["absent", "", "\ud800", *IDS[::-1]]) == [
        {},
        {},
        {},
        *SAID[::-1],
    ]
    # Plain SQLite and JSON, for other programs.
    with sqlite3.connect(version / FILE) as file:
        rows = dict(file.execute("SELECT id, texts FROM metadata"))
    assert rows.keys() == set(IDS[:3]) and json.loads(rows["a.png"]) == SAID[0]


def test_reading_leaves_the_folder_as_it_is(version):
    before = {each: each.stat() for each in version.rglob("*")}
    (version / FILE).parent.chmod(0o555)
    try:
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda _: read_metadata(version, IDS), range(40)))
    finally:
        (version / FILE).parent.chmod(0o755)
    assert found == [SAID] * 40
    after = {each: each.stat() for each in version.rglob("*")}
    assert before.keys() == after.keys()
    assert all(before[each].st_mtime == after[each].st_mtime for each in before)


def test_rows_go_come_and_change(version):
    added = [(["c#?%20.png", "new"], {"price": ["7", ""]}), (["e"], {})]
    assert update_metadata(version, IDS[:1], added) == ["price"]
    names = [*IDS, "new", "e"]
    assert read_metadata(version, names) == [{}, SAID[1], {"price": "7"}, {}, {}, {}]


def test_where_nothing_is_said_there_is_no_file(tmp_path):
    assert write_metadata(tmp_path, IDS, {}) == []
    assert update_metadata(tmp_path, IDS, [(IDS, {})]) == []
    assert list(tmp_path.iterdir()) == []
    assert read_metadata(tmp_path, IDS) == [{}] * 4


def test_damaged_files_get_a_sentence(version):
    file = version / FILE
    whole = file.read_bytes()
    wrong = [b"", b"junk" * 2000, whole[: len(whole) // 2]]
    for content in wrong:
        file.write_bytes(content)
        with pytest.raises(ValueError, match="must be a file of images' metadata"):
            read_metadata(version, IDS)
    file.unlink()
    with sqlite3.connect(file) as other:
        other.execute("CREATE TABLE metadata (id TEXT, texts TEXT)")
        other.execute("INSERT INTO metadata VALUES ('a.png', '[1]')")
    with pytest.raises(ValueError, match="are not a JSON object"):
        read_metadata(version, IDS)


def test_no_room_gets_a_sentence(tmp_path):
    script = (
        "import resource, sys\n"
        "from tfembed.formats.image_metadata import write_metadata\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "try:\n"
        "    ids = map(str, range(3000))\n"
        "    write_metadata(sys.argv[1], ids, {'a': ['x' * 50] * 3000})\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "metadata.sqlite' cannot be written: " in done.stdout
