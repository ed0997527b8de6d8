"""At a tiny size: the table, the memory of a fresh process, equal numbers."""

import re

import numpy as np
import pytest

TINY = ["--size=9001", "--dim=8", "--batch-size=6", "--repetitions=1"]


def test_the_table(script, table, monkeypatch, capsys):
    module = script("instance_softmax")
    monkeypatch.setattr(module, "peaks", lambda _: dict.fromkeys(module.VARIANTS, 1.0))
    module.main(TINY)
    text = capsys.readouterr().out
    rows = table(text)
    assert [row["variant"] for row in rows] == list(module.VARIANTS)
    bare = [float(row["x bare"]) for row in rows if row["variant"] in module.BARE]
    assert min(bare) == 1.0
    plain = next(row for row in rows if row["variant"] == module.PLAIN)
    assert float(plain["x plain"]) == 1.0
    differences = re.findall(r"(?:loss|gradient|:|,) (\d\.\de[-+]\d\d)", text)
    assert differences and max(map(float, differences)) < 1e-5


def test_all_bare_variants_compute_the_same(script):
    module = script("instance_softmax")
    variants = module.build(module.parse(TINY))
    (expected,) = variants["bare, in one go"]()
    for name in module.BARE:
        (found,) = variants[name]()
        if "transposed" in name:
            found = found.T
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["InstanceSoftmax, rows updated"])
def test_the_peak_of_a_fresh_process(variant, script, monkeypatch):
    module = script("instance_softmax")
    monkeypatch.setattr(module, "VARIANTS", [variant])
    (peak,) = module.peaks(module.parse(TINY)).values()
    assert 0 <= peak < 300
