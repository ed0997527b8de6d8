"""Asks a SavedModel in a process that has only TensorFlow, as a server has."""

import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path


def ask_in_fresh_process(saved_model_dir, requests, runtime="python", seconds=900):
    """Runs requests on a SavedModel in a process that has only TensorFlow.

    Args:
        saved_model_dir: Folder of the SavedModel.
        requests: List of `(signature name, {input name: array})`.
        runtime: `"python"`: `tf.saved_model.load`; `"native"`: TensorFlow's C API, as
            a server, with no Python of TensorFlow in the process.
        seconds: How long to wait.

    Returns:
        A list of `{output name: array}`, and the signatures' inputs and outputs.

    Raises:
        RuntimeError: If it fails, with what it was asked, and the whole of what
            TensorFlow said.
    """
    script = Path(__file__).with_name("replay.py")
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    environment["TF_CPP_MIN_LOG_LEVEL"] = "2"
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("requests", "answers", "progress")]
        questions, answered, progress = files
        questions.write_bytes(pickle.dumps(requests))
        command = [sys.executable, script, runtime, saved_model_dir, *files]
        try:
            process = subprocess.run(
                [str(part) for part in command],
                env=environment,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(
                f"The exported model did not answer within {seconds} s. Asked was "
                f"{_progress(progress)[0]}."
            ) from error
        if process.returncode:
            last, said = _progress(progress)
            said = said or process.stderr.strip() or "nothing"
            raise RuntimeError(
                "The exported model does not run in a process that has only "
                f"TensorFlow (exit status {process.returncode}). Asked was {last}. "
                f"It says: {said}"
            )
        return pickle.loads(answered.read_bytes())


def _progress(path):
    """What a process was last doing, and what it said of it."""
    told = path.read_text("utf-8") if path.exists() else "nothing yet"
    last, _, said = told.partition("\n")
    return last, said.strip()
