"""Reading run directories: what is there, what is missing, what is broken."""

import numpy as np
import pytest

from tfembed.report.run import read_run, read_runs


def test_reads_what_is_there(make_run):
    path = make_run()
    run = read_run(path)
    assert not run.missing and run.name == "run"
    assert run.config["recipe"] == "instdisc" and run.result["protocol"] == "seen"
    assert run.gallery.size == 36 and run.queries.size == 15 and run.judged.size == 15
    np.testing.assert_array_equal(run.log["loss"], [3.5, 2.5, 1.5])
    assert np.isnan(run.log["knn_10"][0])
    assert run.class_name(2) == "Bag & co"
    assert run.class_name(7) == "7" and run.class_name(-1) == ""
    with np.load(path / "query_thumbnails.npz") as file:
        np.testing.assert_array_equal(run.queries.picture(4), file["images"][4])


def test_says_what_is_missing(make_run):
    path = make_run(queries=0, thumbnails=False)
    for name in ("result.json", "environment.json", "log.csv"):
        (path / name).unlink()
    run = read_run(path)
    told = " ".join(run.missing)
    for word in ("result", "not finished", "environment", "log.csv", "thumbnails"):
        assert word in told
    assert "`queries.npz` is missing" in told and "flatters" in told
    assert run.judged is run.gallery and run.gallery.picture(0) is None
    (path / "gallery.npz").unlink()
    assert read_run(path).gallery is None
    assert "no neighbours" in " ".join(read_run(path).missing)


def test_unseen_classes_need_no_queries(make_run):
    run = read_run(make_run(queries=0, result={"protocol": "unseen"}))
    assert run.unseen and not run.missing


def test_thumbnails_go_by_id(make_run):
    path = make_run()
    with np.load(path / "thumbnails.npz") as file:
        images, ids = file["images"], file["ids"]
    np.savez(path / "thumbnails.npz", images=images[::-1][:30], ids=ids[::-1][:30])
    gallery = read_run(path).gallery
    np.testing.assert_array_equal(gallery.picture(20), images[20])
    assert gallery.picture(3) is None


def test_runs_of_the_same_name_are_told_apart(make_run):
    paths = make_run("a/x"), make_run("b/x")
    names = [run.name for run in read_runs(paths)]
    assert names == [str(path) for path in paths]
    with pytest.raises(ValueError, match="different run directories"):
        read_runs([paths[0], paths[0]])


def broken_npz(path):
    (path / "gallery.npz").write_bytes(b"PK\x03\x04 half a file")


def no_ids(path):
    np.savez(path / "gallery.npz", embeddings=np.zeros((2, 2)), labels=[0, 1])


def too_few_labels(path):
    np.savez(
        path / "gallery.npz", embeddings=np.zeros((2, 2)), labels=[0], ids=["a", "b"]
    )


def other_length(path):
    np.savez(path / "queries.npz", embeddings=np.zeros((1, 2)), labels=[0], ids=["a"])


def no_images(path):
    np.savez(path / "thumbnails.npz", images=np.zeros((2, 8, 8)), ids=["a", "b"])


def no_json(path):
    (path / "config.json").write_text("{")


def no_object(path):
    (path / "result.json").write_text("[1]")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (broken_npz, "must be a whole NumPy archive"),
        (no_ids, "without `ids`"),
        (too_few_labels, "one label and one id"),
        (other_length, "as long as the gallery's"),
        (no_images, "uint8"),
        (no_json, "is not JSON"),
        (no_object, "JSON object"),
    ],
)
def test_a_broken_file_is_named(make_run, spoil, words):
    path = make_run()
    spoil(path)
    with pytest.raises(ValueError, match=words) as caught:
        read_run(path)
    assert str(path) in str(caught.value)


def test_what_is_no_run_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for path, words in (
        (tmp_path, "has neither"),
        (tmp_path / "none", "does not exist"),
        (tmp_path / "file", "is a file"),
    ):
        with pytest.raises(ValueError, match=f"Received: .*{words}"):
            read_run(path)


def test_positive_sets_of_other_images_are_left_out(make_run):
    path = make_run()
    make_run.add_positives(path, gallery=35)
    run = read_run(path)
    assert run.positives is None and "sets are of other images" in run.missing[0]
