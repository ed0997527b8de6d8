"""The default base, and that a saved loss keeps its own."""

from tfembed import losses, weighting


def test_saved_loss_keeps_its_base():
    for kind in (losses.MultiSimilarity, weighting.MultiSimilarityWeights):
        assert kind().base == 0.5
    saved = losses.MultiSimilarity(base=1.0).get_config()
    assert losses.MultiSimilarity.from_config(saved).base == 1.0
