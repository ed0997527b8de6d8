"""Imports without the noise that they print; all other output is passed on.

TensorFlow and keras-cv say on every start which of their plugins were linked twice,
that there is no GPU, and which backend Keras Core took. Nobody can act on it.
"""

import contextlib
import importlib.util
import io
import os
import re
import sys
import tempfile

# Lines of TensorFlow's C++ libraries, on standard error.
_NOISE = re.compile(
    rb"Unable to register cu(DNN|FFT|BLAS) factory"
    rb"|Unable to register factory for plugin cu(DNN|FFT|BLAS)"
)
_NO_DRIVER = re.compile(rb"failed call to cuInit|CUDA_ERROR_NO_DEVICE")
_ABSL_HEAD = b"WARNING: All log messages before absl::InitializeLog()"
_ABSL_LINE = re.compile(rb"([IWEF])\d{4} \d\d:\d\d:\d")


def quiet_start():
    """Makes TensorFlow start quietly, once it is imported: for a command.

    `TF_CPP_MIN_LOG_LEVEL` is 2 unless it was set: errors are shown, but for those of
    its start that mean nothing. Whoever sets it to 0 or 1 sees everything.
    """
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if level in ("2", "3") and "tensorflow" not in sys.modules:
        sys.meta_path.insert(0, _QuietTensorFlow())


class _QuietTensorFlow:
    """Finds TensorFlow as others do, and listens while it is loaded."""

    def find_spec(self, name, path=None, target=None):
        del path, target
        if name != "tensorflow":
            return None
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None:
            return None
        load = spec.loader.exec_module

        def load_quietly(module):
            with _without_noise():
                load(module)
                module.config.list_physical_devices("GPU")  # says it, too

        spec.loader.exec_module = load_quietly
        return spec


@contextlib.contextmanager
def _without_noise():
    """Collects what is written to standard error, and writes it but for the noise."""
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (AttributeError, OSError, ValueError):  # there is none
        yield
        return
    with tempfile.TemporaryFile() as collected:
        os.dup2(collected.fileno(), 2)
        try:
            yield
        finally:
            with contextlib.suppress(AttributeError, OSError, ValueError):
                sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            collected.seek(0)
            with contextlib.suppress(OSError):
                os.write(2, audible(collected.read(), os.path.exists("/dev/nvidia0")))


def audible(text, driver):
    """Returns the lines that are worth reading.

    Args:
        text: Bytes of standard error.
        driver: Whether there is a GPU, so that what is said of it matters.
    """
    lines = []
    for line in text.splitlines(keepends=True):
        absl = _ABSL_LINE.match(line)  # written whatever the level is, this early
        below = absl is not None and absl[1] in b"IW"
        of_gpu = not driver and _NO_DRIVER.search(line)
        if not (below or of_gpu or _NOISE.search(line)):
            lines.append(line)
    if not any(_ABSL_LINE.match(line) for line in lines):
        lines = [line for line in lines if not line.startswith(_ABSL_HEAD)]
    return b"".join(lines)


def import_keras_cv():
    """Imports keras-cv, whose Keras Core prints which backend it took.

    Returns:
        The module.

    Raises:
        ImportError: If it is not installed, or cannot be imported.
    """
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            import keras_cv
    finally:
        lines = printed.getvalue().splitlines(keepends=True)
        sys.stdout.write(
            "".join(line for line in lines if line != "Using TensorFlow backend\n")
        )
    return keras_cv
