"""At a tiny size: the tables, and that the clients ask as often as they should."""

import threading
import time

import numpy as np
import pytest

TINY = ["--rows=300", "--dim=8", "--clients", "1", "3", "--requests=6", "--rounds=2"]


def test_each_client_asks_again_as_soon_as_it_is_answered(script):
    module, inside, most = script("serving"), set(), []

    def ask():
        inside.add(threading.get_ident())
        most.append(len(inside))
        time.sleep(0.02)
        inside.discard(threading.get_ident())

    seconds, whole = module.ask_at_once(ask, 4, 22)
    assert len(seconds) == 22 and max(most) == 4
    assert min(seconds) >= 0.02 and whole < sum(seconds)


def test_what_fails_is_not_counted(script):
    def fail():
        raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        script("serving").ask_at_once(fail, 2, 5)


def test_the_rows(script):
    module = script("serving")
    took = {
        module.SIDES[0]: ([0.001] * 10, 0.01, 0.02),
        "gRPC": (list(np.arange(1, 101) / 1000), 5.05, 0.4),
        "REST": ([0.004] * 10, 0.04, 0.03),
    }
    model, grpc, rest = module.rows_of(8, took)
    assert model[:2] == ["8", "the model itself"]
    np.testing.assert_allclose(model[2:], [1000, 1, 1, 1, 1, 2, 1])
    np.testing.assert_allclose(rest[2:], [250, 0.25, 4, 4, 4, 3, 1.5])
    expected = [19.8, 0.0198, 50.5, 90.1, 99.01, 4, 2]
    np.testing.assert_allclose(grpc[2:], expected, 1e-3)


@pytest.mark.slow
def test_the_tables(script, table, capsys):
    module = script("serving")
    module.main(TINY)
    rows = table(capsys.readouterr().out)
    assert [(row["clients"], row[""]) for row in rows] == [
        (count, side) for count in ("1", "3") for side in module.SIDES
    ]
    assert all(float(row["requests/s"]) > 0 for row in rows)
    module.main([*TINY, "--memory", "--memory-requests=40"])
    rows = table(capsys.readouterr().out)
    assert [row["requests"] for row in rows] == ["2", "10", "20", "40"]
    assert all(float(row["MB"]) > 10 for row in rows)
