"""Which head a gallery gets, and that asking costs no TensorFlow."""

import subprocess
import sys

import pytest

from tfembed.export.heads import HEADS, choose_head, load_head


@pytest.mark.parametrize(
    ("rows", "dim", "name"),
    [
        (1, 128, "exact"),
        (1_000_000, 128, "exact"),
        (2_000_000, 128, "exact"),
        (2_200_000, 128, "ivf"),
        (600_000, 512, "ivf"),
        (400_000, 512, "exact"),
    ],
)
def test_choice_goes_by_what_is_read(rows, dim, name):
    chosen, reason = choose_head(rows, dim)
    assert chosen == name
    assert f"{rows:,} rows of {dim}" in reason and reason.endswith(".")


def test_every_head_has_the_functions():
    for name in HEADS:
        head = load_head(name)
        for function in ("build", "search", "pairs", "stored", "stored_count"):
            assert callable(getattr(head, function))
        assert callable(head.score_columns)


def test_unknown_heads_are_refused():
    with pytest.raises(ValueError, match="'exact', 'bfloat16', .*'ivf'.*'hnsw'"):
        load_head("hnsw")


def test_choosing_does_not_import_tensorflow():
    code = (
        "import sys; from tfembed.export.heads import choose_head; "
        "choose_head(5, 5); sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
