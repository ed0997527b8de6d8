"""An export of this stack in other TensorFlows, whose Pythons `.ci/run` names.

By the other stack's, and by that of the newest TF Serving, which is behind the newest
TensorFlow: what it does not know must not be in an export.
"""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tfembed.export
from tfembed.export import export
from tfembed.export.heads import HEADS
from tfembed.export.warmup import read_warmup

REPLAY = Path(tfembed.export.__file__).with_name("replay.py")
OTHERS = {
    "TFEMBED_OTHER_PYTHON": "the other stack",
    "TFEMBED_SERVING_PYTHON": "the TensorFlow of the newest TF Serving",
}


@pytest.fixture(params=OTHERS)
def other(request):
    """The Python of another TensorFlow."""
    python = os.environ.get(request.param)
    if not python:
        pytest.skip(f"{request.param} names no Python of {OTHERS[request.param]}")
    return python


@pytest.fixture(scope="module", params=HEADS)
def version(request, exported, tmp_path_factory):
    """An export with each head, where somebody is there to load it."""
    if not any(map(os.environ.get, OTHERS)):
        pytest.skip(f"{' and '.join(OTHERS)} name no Python")
    if request.param == "exact":
        return exported.path
    return export(
        exported.encoder,
        exported.gallery,
        tmp_path_factory.mktemp(request.param),
        head=request.param,
        k=7,
        report=None,
    )


def ask(python, runtime, version, requests, folder):
    """A version's answers in a process of another Python."""
    (folder / "asked").write_bytes(pickle.dumps(requests))
    command = [python, REPLAY, runtime, version]
    command += [folder / name for name in ("asked", "answered", "progress")]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return pickle.loads((folder / "answered").read_bytes())[0]


@pytest.fixture(scope="module")
def asked(exported, version, tmp_path_factory):
    """Requests of all signatures, and what this stack answers."""
    requests = [
        ("search_bytes", {"image_bytes": exported.png(exported.images)}),
        ("embed", {"images": exported.images.astype(np.float32)}),
        *read_warmup(version),
    ]
    assert len({signature for signature, _ in requests}) >= 10
    folder = tmp_path_factory.mktemp("asked")
    return requests, ask(sys.executable, "native", version, requests, folder)


@pytest.mark.thin(3)
def test_another_tensorflow_answers_alike(other, version, asked, exported, tmp_path):
    """Through TensorFlow's C API as a server does, and one version in Python too."""
    requests, expected = asked
    runtimes = ["native", "python"] if version == exported.path else ["native"]
    for runtime in runtimes:
        answers = ask(other, runtime, version, requests, tmp_path)
        for one, another in zip(expected, answers):
            assert one.keys() == another.keys()
            for name, value in one.items():
                if value.dtype == np.float32:
                    np.testing.assert_allclose(value, another[name], atol=1e-5)
                else:
                    np.testing.assert_array_equal(value, another[name])
