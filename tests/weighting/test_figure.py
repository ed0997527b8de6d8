"""The command draws and prints what `similarity_types` and the weights say."""

import pytest

pytest.importorskip("matplotlib")

from tfembed import losses
from tfembed.weighting.__main__ import main
from tfembed.weighting.figure import GRID, NEAR, WRAPPERS, curves_of, every_loss


def test_every_public_loss_is_drawn():
    public = {
        name for name in losses.__all__ if isinstance(getattr(losses, name), type)
    }
    assert set(every_loss()) == public - WRAPPERS
    assert WRAPPERS == {"Matryoshka"}


def test_the_command_writes_a_figure_and_prints_a_table(tmp_path, capsys):
    from PIL import Image

    path = tmp_path / "weights.png"
    names = ["Contrastive", "NormSoftmax", "AffinityFrobenius"]
    assert main(["--output", str(path), "--losses", *names]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["Contrastive", "pairs", "S"] in lines
    assert ["NormSoftmax", "proxies", "N", "P"] in lines
    assert ["AffinityFrobenius", "batch", "S"] in lines
    image = Image.open(path).convert("RGB")
    assert min(image.size) > 400
    colors = {color for _, color in image.getcolors(maxcolors=2**24)}
    assert {(31, 111, 180), (200, 68, 44)} <= colors  # pull and push


def test_curves_are_the_weights():
    curves = curves_of("Contrastive", losses.Contrastive(0.3, form="cosine"))
    for pull, push in zip(curves.pull.values(), curves.push.values()):
        assert (pull > 0).all()
        assert ((push > 0) == (GRID > 0.3)).all()
    assert set(curves.pull) == {0.0, NEAR}


def test_bad_arguments_end_with_a_sentence(tmp_path, capsys):
    assert main(["--output", str(tmp_path / "none" / "x.png")]) == 2
    assert "`--output`" in capsys.readouterr().err
    path = str(tmp_path / "x.png")
    assert main(["--output", path, "--losses", "MeanSquaredError"]) == 2
    assert "Received: MeanSquaredError" in capsys.readouterr().err


@pytest.mark.slow
def test_the_whole_figure(tmp_path):
    assert main(["--output", str(tmp_path / "weights.png")]) == 0
