"""One encoder exported and asked as on smaller processors, with the same answers.

oneDNN has kernels for each instruction set, and each has faults of its own.
`ONEDNN_MAX_CPU_ISA` takes those of a smaller processor; one that this machine's does
not have is reported as not tried.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("export_and_ask.py")
# What the processor must have, as Linux calls it.
CAPS = {
    "SSE41": {"sse4_1"},
    "AVX2": {"avx2"},
    "AVX512_CORE": {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
    "AVX512_CORE_AMX": {"amx_tile", "amx_int8", "amx_bf16"},
}
TOLERANCE = 1e-4


def processor():
    """Returns the processor's name and flags; nothing where Linux is not."""
    try:
        told = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "", set()
    name = re.search(r"^model name\s*: (.*)$", told, re.M)
    flags = re.search(r"^flags\s*: (.*)$", told, re.M)
    return name.group(1) if name else "", set(flags.group(1).split() if flags else ())


def said(folder, **settings):
    """Returns what the export says in a process with these settings."""
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "-1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **settings,
    }
    process = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
    )
    assert process.returncode == 0, process.stdout[-500:] + process.stderr[-4000:]
    with np.load(folder / "said.npz") as found:
        return dict(found)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """What the same export says by TensorFlow's own kernels."""
    return said(tmp_path_factory.mktemp("plain"), TF_ENABLE_ONEDNN_OPTS="0")


@pytest.mark.parametrize("cap", CAPS)
def test_exports_answer_alike_up_to_each_instruction_set(cap, plain, tmp_path):
    name, flags = processor()
    if not CAPS[cap] <= flags:
        missing = ", ".join(sorted(CAPS[cap] - flags))
        pytest.skip(f"not tried: {name or 'this processor'} has no {missing}")
    found = said(tmp_path, TF_ENABLE_ONEDNN_OPTS="1", ONEDNN_MAX_CPU_ISA=cap)
    for key, value in plain.items():
        np.testing.assert_allclose(found[key], value, atol=TOLERANCE, err_msg=key)
