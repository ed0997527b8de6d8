"""The commands say what is meant; the analysis is the loss's gradient."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tfembed.losses import norm_softmax
from tfembed.recipes import config as configs
from tfembed.recipes.supervised import Config


def test_table_and_picture(script, tmp_path, capsys):
    module = script("temperature")
    words = [f"--runs={tmp_path}", "--table", "--seeds", "0", "1"]
    runs = module.plan(module.parse(words))
    assert len({t for t, _ in runs}) >= 8
    for (temperature, seed), (folder, command) in runs.items():
        config, _ = configs.parse(Config, "", "", list(map(str, command[3:])))
        assert config.loss_options == f"temperature={temperature:g}"
        assert (config.seed, config.split) == (seed, "unseen")
        folder.mkdir(parents=True)
        row = {name: 0.5 + seed / 100 for name in module.SHOWN}
        (folder / "result.json").write_text(json.dumps({"table": [row]}))
    module.main([*words, f"--picture={tmp_path / 'picture.png'}"])
    assert "50.5" in capsys.readouterr().out
    assert (tmp_path / "picture.png").stat().st_size > 10000


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_the_analysis_is_the_gradient_of_the_loss(script, temperature):
    module = script("temperature")
    for lead in (-0.5, 0.0, 0.3, 1.0):
        x = tf.Variable([[lead] + [0.0] * (module.CLASSES - 1)], dtype=tf.float64)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(norm_softmax([0], x, temperature=temperature))
        gradient = tape.gradient(loss, x).numpy()[0]
        expected = module.pulls(lead, temperature)
        np.testing.assert_allclose(-gradient[0], expected, rtol=1e-6)
        np.testing.assert_allclose(gradient[1:].sum(), expected, rtol=1e-6)
