"""Ours train inside TensorFlow Similarity, and its index answers on our embeddings.

It needs Keras 2: the addons stack has it, the current one in a process with legacy
Keras.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = pathlib.Path(__file__).resolve().with_name("similarity_training.py")


@pytest.mark.parametrize(
    "loss", ["MultiSimilarity", pytest.param("Contrastive", marks=pytest.mark.slow)]
)
def test_a_loss_trains_inside_similarity_model(loss):
    pytest.importorskip("tensorflow_similarity", reason="TensorFlow Similarity")
    done = subprocess.run(
        [sys.executable, SCRIPT, loss],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_USE_LEGACY_KERAS": "1", "PYTHONPATH": str(ROOT)},
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    ((name, (before, after, ours)),) = found.items()
    assert name == loss
    assert before < 0.5 < 0.7 < after, (before, after)
    # Its search is approximate: one of 240 points may come out otherwise.
    assert ours == pytest.approx(after, abs=0.02)
