"""Folders that the processes of a test session write once, and all read."""

import fcntl


def written_once(tmp_path_factory, name, write):
    """Returns a folder that `write(folder)` filled, in this process or another.

    Tests that run side by side share it, so none may change what is in it.
    """
    root = tmp_path_factory.getbasetemp()
    if root.name.startswith("popen-"):  # of one of several workers
        root = root.parent
    folder = root / "shared" / name
    folder.parent.mkdir(exist_ok=True)
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder.with_suffix(".done")
        if not done.exists():
            folder.mkdir()  # fails where `write` failed before
            write(folder)
            done.touch()
    return folder
