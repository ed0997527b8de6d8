"""References that are empty, or the anchors themselves, make no pair."""

import numpy as np
import pytest

from tfembed.losses import contrastive, multi_similarity
from tfembed.ops.pairs import References

LOSSES = [contrastive, multi_similarity]


def batch(rows=7, refs=11, dim=4):
    rng = np.random.default_rng(0)
    x, r = rng.normal(size=(rows, dim)), rng.normal(size=(refs, dim))
    return rng.integers(0, 3, rows), x, rng.integers(0, 3, refs), r


@pytest.mark.parametrize("chunk", [None, 3])
@pytest.mark.parametrize("loss", LOSSES)
def test_absent_references_count_as_not_there(loss, chunk):
    labels, x, ref_labels, refs = batch()
    present = np.random.default_rng(1).random(11) < 0.6
    expected = loss(labels, x, ref_labels[present], refs[present])
    wrong = np.where(present[:, None], refs, 1e3)
    found = loss(labels, x, ref_labels, References(wrong, present), row_chunk=chunk)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("chunk", [None, 3])
@pytest.mark.parametrize("loss", LOSSES)
def test_an_anchor_is_no_reference_of_its_own(loss, chunk):
    labels, x, _, _ = batch()
    order = np.random.default_rng(2).permutation(7)
    own = np.int32(np.argsort(order))
    found = loss(labels, x, labels[order], References(x[order], own=own))
    np.testing.assert_allclose(found, loss(labels, x), rtol=1e-12)
    nobody = References(x[order], own=np.full(7, -1, np.int32))
    np.testing.assert_allclose(
        loss(labels, x, labels[order], nobody, row_chunk=chunk),
        loss(labels, x, labels[order], x[order]),
        rtol=1e-12,
    )
