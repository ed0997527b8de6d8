"""The command: what it writes, and the sentences of what it cannot do."""

import os
import sys

from tfembed.report.__main__ import main


def test_writes_a_page_beside_the_run_and_the_projector(make_run, capsys, no_figures):
    path = make_run()
    assert main([str(path), "--map", "pca"]) == 0
    printed = capsys.readouterr().out
    page = path / "report.html"
    assert f"{page}: 0." in printed and "tensorboard --logdir" in printed
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert (path / "tensorboard" / "projector" / "embeddings.tsv").exists()
    assert not list(path.glob("*.partial"))


def test_writes_a_comparison_where_it_is_told(make_run, tmp_path, no_figures):
    runs = [str(make_run(name)) for name in ("one", "two")]
    output = tmp_path / "page.html"
    options = ["--output", str(output), "--map", "pca", "--no-projector"]
    assert main([*runs, *options]) == 0
    assert "Comparison of one, two" in output.read_text(encoding="utf-8")
    assert not (tmp_path / "runs" / "one" / "tensorboard").exists()


def test_a_missing_library_is_named(make_run, capsys, monkeypatch):
    for name in ("jinja2", "sklearn"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main([str(make_run())]) == 2
    told = capsys.readouterr().err
    assert "jinja2, sklearn" in told and "pip install 'tfembed[report]'" in told


def test_what_is_no_run_gets_a_sentence(tmp_path, capsys):
    assert main([str(tmp_path / "none")]) == 2
    assert "must be a run directory" in capsys.readouterr().err


def test_an_output_without_a_folder_gets_a_sentence(make_run, tmp_path, capsys):
    path = str(make_run())
    assert main([path, "--output", str(tmp_path / "no" / "page.html")]) == 2
    assert "`--output` must be a file in a folder" in capsys.readouterr().err


def test_a_full_disk_gets_a_sentence_and_leaves_the_old_page(
    make_run, capsys, monkeypatch, no_figures
):
    path = make_run()
    (path / "report.html").write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert main([str(path), "--map", "pca"]) == 2
    assert "No space left" in capsys.readouterr().err
    assert (path / "report.html").read_text() == "old"
    assert not list(path.glob("*.partial"))
