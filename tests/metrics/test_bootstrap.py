"""Bootstrap intervals against closed forms and a resampling loop."""

import numpy as np
import pytest

from tfembed.metrics import bootstrap_intervals


def test_hits_are_binomial():
    from scipy.stats import binom

    n, p = 400, 0.8
    hits = np.arange(n) < n * p
    (low, high) = bootstrap_intervals({"R@1": hits}, resamples=4000)["R@1"]
    # The mean of resampled hits is a binomial share; its quantiles are known.
    expected = binom.ppf([0.025, 0.975], n, p) / n
    np.testing.assert_allclose([low, high], expected, atol=0.006)


def test_is_the_loop_over_resamples():
    rng = np.random.default_rng(0)
    values = rng.gamma(1.0, size=57)
    values[5:9] = np.nan
    means = []
    for _ in range(4000):
        drawn = values[rng.integers(57, size=57)]
        means.append(drawn[np.isfinite(drawn)].mean())
    expected = np.quantile(means, [0.1, 0.9])
    found = bootstrap_intervals({"a": values}, confidence=0.8, resamples=4000)["a"]
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_the_seed_decides_and_names_share_their_draws():
    values = np.random.default_rng(1).random(30)
    first = bootstrap_intervals({"a": values, "b": 1 - values}, seed=3)
    assert first == bootstrap_intervals({"a": values, "b": 1 - values}, seed=3)
    assert first != bootstrap_intervals({"a": values, "b": 1 - values}, seed=4)
    np.testing.assert_allclose(first["a"], 1 - np.array(first["b"])[::-1], atol=1e-12)


def test_nothing_counts():
    assert np.isnan(bootstrap_intervals({"a": [np.nan, np.nan]})["a"]).all()
    with pytest.raises(ValueError, match="at least one query"):
        bootstrap_intervals({"a": []})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"confidence": 95}, "confidence"),
        ({"resamples": 0}, "resamples"),
        ({"values": {"a": [1], "b": [1, 2]}}, "one value a query"),
        ({"values": {}}, "one value a query"),
    ],
)
def test_bad_input_gets_a_sentence(arguments, words):
    with pytest.raises(ValueError, match=words) as error:
        bootstrap_intervals(**{"values": {"a": [0, 1]}, **arguments})
    assert "Received" in str(error.value)
