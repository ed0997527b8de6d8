"""One process of each command."""

import pytest


@pytest.mark.slow
def test_the_table(script, table):
    module = script("startup")
    module.main(["--only-help", "--repetitions=1"])
    names = [row["process"] for row in table()]
    assert names[0] == "python -c pass"
    assert "tfembed.recipes.instdisc --help" in names
    assert "tfembed.serving --help" in names
