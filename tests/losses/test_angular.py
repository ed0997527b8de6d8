"""The angular loss: which angles it takes."""

import pytest

from tfembed.losses import Angular


@pytest.mark.parametrize("alpha", [0.5, 1, 89.9])
def test_any_acute_angle_is_one(alpha):
    assert Angular(alpha=alpha).get_config()["alpha"] == alpha


@pytest.mark.parametrize("alpha", [0, -1, 90])
def test_no_other_is(alpha):
    with pytest.raises(ValueError, match="`alpha` must be"):
        Angular(alpha=alpha)
