"""At a tiny size: the table, and that both variants compute the same."""

import re

TINY = ["--classes=900", "--dim=8", "--batch-size=6", "--repetitions=1"]


def test_the_table(script, table, monkeypatch, capsys):
    module = script("proxy_softmax")
    monkeypatch.setattr(module.measure, "child", lambda _: 1.0)
    module.main([*TINY, "--forms", "arcface"])
    text = capsys.readouterr().out
    rows = table(text)
    assert [row["variant"] for row in rows] == list(module.VARIANTS)
    assert float(rows[1]["x plain"]) == 1.0
    # The ratios of the table can be as small as the differences below it.
    _, differences = text.split("Largest difference")
    differences = re.findall(r" (\d\.\de[-+]\d\d)", differences)
    assert len(differences) == 3 and max(map(float, differences)) < 1e-4
