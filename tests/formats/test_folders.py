"""The walker of folders: links, loops of them, and what goes meanwhile."""

import os
import shutil

import pytest

from tfembed.formats.folders import walk


def make(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def found(root):
    return sorted(
        os.path.relpath(os.path.join(folder, name), root)
        for folder, names in walk(root)
        for name in names
    )


@pytest.fixture
def root(tmp_path):
    make(tmp_path / "root", "a/1.png", "a/deep/2.png", "b/3.png", "top.png")
    make(tmp_path / "root", ".hidden/4.png", "b/.5.png")
    make(tmp_path / "far", "6.png", "deep/7.png")
    return tmp_path / "root"


OWN = ["a/1.png", "a/deep/2.png", "b/3.png", "top.png"]


def test_links_to_folders_are_followed(root):
    assert found(root) == OWN
    (root / "c").symlink_to(root.parent / "far")
    (root / "b" / "d.png").symlink_to(root / "top.png")
    (root / "nowhere").symlink_to(root / "not-there")
    expected = sorted([*OWN, "b/d.png", "c/6.png", "c/deep/7.png"])
    assert [name for name in found(root) if name != "nowhere"] == expected


@pytest.mark.parametrize("link", ["a/again", "a/deep/again", "again"])
@pytest.mark.parametrize("target", ["a", "", ".."])
def test_a_loop_of_links_is_walked_once(root, link, target):
    (root / link).symlink_to(os.path.abspath(root / target))
    assert found(root) == OWN


def test_links_into_each_other(root):
    (root / "a" / "b").symlink_to("../b")
    (root / "b" / "a").symlink_to("../a")
    assert found(root) == OWN  # under their own names


def test_a_folder_has_the_first_of_its_links(root):
    for name in ("e", "d", "b/f"):
        (root / name).symlink_to(root.parent / "far")
    (root.parent / "far" / "back").symlink_to(root)
    (root.parent / "far" / "up").symlink_to("..")
    assert found(root) == sorted([*OWN, "b/f/6.png", "b/f/deep/7.png"])


def test_the_folder_itself_may_be_a_link(root):
    (root.parent / "link").symlink_to("root")
    assert found(root.parent / "link") == OWN


def test_what_goes_while_it_is_walked(root):
    walked = walk(root)
    assert next(walked)[0] == str(root)
    shutil.rmtree(root / "a")
    assert [os.path.basename(folder) for folder, _ in walked] == ["b"]
