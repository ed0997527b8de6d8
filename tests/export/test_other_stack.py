"""An export of this stack, answered by the other one; `.ci/run` names its Python."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tfembed.export

REPLAY = Path(tfembed.export.__file__).with_name("replay.py")


def test_the_other_stack_answers_alike(exported, tmp_path):
    """An export of this stack loaded by the other, and by its C API."""
    other = os.environ.get("TFEMBED_OTHER_PYTHON")
    if not other:
        pytest.skip("TFEMBED_OTHER_PYTHON names no Python of the other stack")
    requests = [
        ("search_bytes", {"image_bytes": exported.png(exported.images)}),
        ("embed", {"images": exported.images.astype(np.float32)}),
    ]
    (tmp_path / "asked").write_bytes(pickle.dumps(requests))
    answers = []
    for python in (sys.executable, other):
        for runtime in ("native", "python"):
            answered = tmp_path / "answered"
            command = [python, REPLAY, runtime, exported.path, tmp_path / "asked"]
            done = subprocess.run(
                [*map(str, command), str(answered)], capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr[-2000:]
            answers.append(pickle.loads(answered.read_bytes())[0])
    for answer in answers[1:]:
        for one, another in zip(answers[0], answer):
            for name, value in one.items():
                if value.dtype == np.float32:
                    np.testing.assert_allclose(value, another[name], atol=1e-5)
                else:
                    np.testing.assert_array_equal(value, another[name])
