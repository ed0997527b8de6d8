"""The three ways to a new gallery, each in a process of its own."""

import pytest


@pytest.mark.slow
def test_the_table(script, table, tmp_path):
    module = script("gallery_update")
    options = ["--rows=3000", "--changed=10", "--dim=8", "--repetitions=1"]
    module.main([*options, f"--folder={tmp_path}"])
    rows = {row["what"]: row for row in table()}
    assert list(rows) == ["update", "replace", "export"]
    for row in rows.values():
        assert float(row["median s"]) > 0 and float(row["x both at once"]) > 0
    assert not list(tmp_path.iterdir())
