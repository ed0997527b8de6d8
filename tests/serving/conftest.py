"""One small model, and one local server for it, for all tests of this folder."""

import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import digits as digit_model  # noqa: E402
import pixel_model  # noqa: E402
import small_model  # noqa: E402
from shared import written_once  # noqa: E402

from tfembed.serving import Client, LocalServer  # noqa: E402


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory):
    """Folder of the versions 3 and 7 (one model, so that writing is paid once)."""
    path = tmp_path_factory.mktemp("small")
    small_model.write_model(str(path), 7)
    (path / "3").symlink_to(path / "7")
    return path


@pytest.fixture(scope="session")
def server(model_dir):
    """A `LocalServer` at free ports; its model has no limit on images of its own."""
    with LocalServer(
        model_dir, port=0, rest_port=0, max_image_megapixels=64
    ) as running:
        yield running


@pytest.fixture(params=["grpc", "rest"])
def address(server, request):
    """The server's address, once for each protocol."""
    return server.grpc_address if request.param == "grpc" else server.rest_address


@pytest.fixture
def client(address):
    """A client of each protocol."""
    with Client(address, timeout=60.0) as connected:
        yield connected


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """Folder with an export of handwritten digits, `models`, and `thumbnails.npz`."""
    return written_once(tmp_path_factory, "digits", digit_model.write)


@pytest.fixture(scope="session")
def pixels(tmp_path_factory):
    """Folder of the models `new` and `old` of `pixel_model`."""
    return written_once(tmp_path_factory, "pixels", pixel_model.write)


@pytest.fixture(scope="session")
def digit_server(digits):
    """A `LocalServer` of the digits, under two names, one of them with pictures."""
    models = {"digits": digits / "models", "bare": digits / "models"}
    images = {"digits": digits / "thumbnails.npz"}
    with LocalServer(models=models, images=images, port=0, rest_port=0) as running:
        yield running


@pytest.fixture(scope="session")
def run_python():
    """Function that runs Python with arguments, at the root of the project."""

    def run(*arguments):
        return subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=pathlib.Path(__file__).parents[2],
            check=False,
        )

    return run
