"""What the local server adds to the model, and that its memory does not grow.

    python benchmarks/serving.py
    python benchmarks/serving.py --memory

A small encoder with a gallery of 100,000 rows of 128 numbers (or any model of
`tfembed.export`, by `--model`) is served by `python -m tfembed.serving` in a process of
its own, and asked for the neighbours of one image, `search_bytes`, by 1, 8 and 32
clients, each of which asks again as soon as it is answered. The same signature is
called in this process by as many threads, in turns with the server: that is the model
itself. The clients, and the model when its turn is, run on the server's cores.

`--memory` asks 20,000 times over both protocols, mostly good requests, some with bytes
that are no image and some for a model that is not there, and looks at the server's
resident memory on the way.
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import gallery_update
import measure
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SIDES = ("the model itself", "gRPC", "REST")
MARKS = (0.05, 0.25, 0.5, 1.0)


def parse(argv=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--model", metavar="MODEL_BASE", help="serve this one instead")
    parser.add_argument("--image", help="image file to ask with (default: noise)")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument(
        "--requests", type=int, default=320, help="of each side and number of clients"
    )
    parser.add_argument("--rounds", type=int, default=8, help="turns of each side")
    parser.add_argument("--memory", action="store_true", help="memory instead of time")
    parser.add_argument("--memory-requests", type=int, default=20_000)
    parser.add_argument("--folder", help="where to write (default: a temporary one)")
    parser.add_argument("--prepare", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def prepare(options):
    """Writes the model, in a process of its own: it leaves no memory behind."""
    from tfembed.export import export_model

    folder = Path(options.prepare)
    gallery_update.write_run(folder / "run", options.rows, options.dim)
    export_model(folder / "run", folder / "model", k=10, report=gallery_update.say)
    print(json.dumps(str(folder / "model")))


def environ():
    """The environment of the processes."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
    }


@contextlib.contextmanager
def model_base(options):
    """The folder of the model that is served."""
    if options.model:
        yield options.model
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        command = [sys.executable, __file__, "--prepare", folder]
        command += ["--rows", str(options.rows), "--dim", str(options.dim)]
        yield measure.child(command, env=environ())


@contextlib.contextmanager
def served(base):
    """The server's process, and its addresses by protocol."""
    with tempfile.TemporaryDirectory() as folder:
        ready, log = Path(folder, "ready.json"), Path(folder, "log")
        command = [sys.executable, "-m", "tfembed.serving", base, "--name", "model"]
        command += ["--port", "0", "--rest-port", "0", "--ready-file", str(ready)]
        with open(log, "w") as file:
            process = subprocess.Popen(
                command, env=environ(), stdout=file, stderr=file, cwd=ROOT
            )
        try:
            while not ready.exists():
                if process.poll() is not None:
                    raise RuntimeError(f"the server ended:\n{log.read_text()[-4000:]}")
                time.sleep(0.1)
            found = json.loads(ready.read_text())
            yield process, {"gRPC": found["grpc"], "REST": "http://" + found["rest"]}
        finally:
            process.terminate()
            process.wait(60)


def sample(options, client):
    """The bytes of the image that is asked with."""
    if options.image:
        return Path(options.image).read_bytes()
    import tensorflow as tf

    images = client.metadata().signatures["search_images"].inputs["images"]
    shape = [size or 224 for size in images.shape[1:]]
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return tf.io.encode_png(pixels).numpy()


def ask_at_once(ask, clients, requests):
    """Asks from threads, each again as soon as it is answered.

    Args:
        ask: Function without arguments.
        clients: How many threads.
        requests: How many requests, of all together.

    Returns:
        Seconds that each request took, and seconds from the first to the last.
    """
    left, lock, seconds = iter(range(requests)), threading.Lock(), []

    def client():
        while True:
            with lock:
                if next(left, None) is None:
                    return
            begun = time.perf_counter()
            ask()
            seconds.append(time.perf_counter() - begun)

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        begun = time.perf_counter()
        for each in [pool.submit(client) for _ in range(clients)]:
            each.result()
        return seconds, time.perf_counter() - begun


def cpu_seconds(pid):
    """Seconds of the processor that a process has had so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def speed(options, base, addresses, pid):
    """Prints requests a second and latencies of each side."""
    import tensorflow as tf

    from tfembed.serving import Client

    version = max(
        int(each.name) for each in Path(base).iterdir() if each.name.isdigit()
    )
    loaded = tf.saved_model.load(str(Path(base, str(version))))
    signature = loaded.signatures["search_bytes"]
    clients = {name: Client(each, timeout=600) for name, each in addresses.items()}
    image = sample(options, clients["gRPC"])
    asks = {
        SIDES[0]: lambda: signature(image_bytes=tf.constant([image]))["ids"].numpy(),
        **{name: (lambda c=each: c.search(image)) for name, each in clients.items()},
    }
    rows = []
    for count in options.clients:
        took = {side: ([], 0.0, 0.0) for side in SIDES}
        for side in SIDES:  # connections, and threads of both sides
            ask_at_once(asks[side], count, 2 * count)
        for _ in range(options.rounds):
            for side in SIDES:
                share = -(-options.requests // options.rounds)
                working = os.getpid() if side == SIDES[0] else pid
                before = cpu_seconds(working)
                seconds, whole = ask_at_once(asks[side], count, share)
                worked = cpu_seconds(working) - before
                so_far = took[side]
                took[side] = (
                    so_far[0] + seconds,
                    so_far[1] + whole,
                    so_far[2] + worked,
                )
        rows += rows_of(count, took)
    measure.print_table(
        f"{options.requests} requests for one image each, in {options.rounds} rounds"
        + ("" if options.model else f", {options.rows:,} rows of {options.dim}"),
        [
            *("clients", "", "requests/s", "x model", "p50 ms", "p90 ms", "p99 ms"),
            *("CPU ms", "x CPU"),
        ],
        rows,
        [
            "`x model`: requests a second, by those of the model itself from as many "
            "threads. `CPU ms`: of the process that has the model, for one request; "
            "`x CPU`: by the model's own."
        ],
    )


def rows_of(count, took):
    """Rows of the table for one number of clients.

    Args:
        count: The number of clients.
        took: `{side: (seconds of each request, seconds of all, seconds of the
            processor)}`.

    Returns:
        A row a side.
    """
    model, whole, worked = took[SIDES[0]]
    base, own = len(model) / whole, worked / len(model)
    rows = []
    for side in SIDES:
        seconds, whole, worked = took[side]
        rate, cpu = len(seconds) / whole, worked / len(seconds)
        p50, p90, p99 = (1e3 * float(np.percentile(seconds, p)) for p in (50, 90, 99))
        row = [str(count), side, rate, rate / base, p50, p90, p99]
        rows.append([*row, 1e3 * cpu, cpu / own if own else None])
    return rows


def memory(options, process, addresses):
    """Prints the server's resident memory after so many requests."""
    from tfembed.serving import Client, NotFound

    clients = [Client(each, timeout=600) for each in addresses.values()]
    strangers = [Client(each, name="none such") for each in addresses.values()]
    image = sample(options, clients[0])
    queries = np.random.default_rng(0).normal(
        size=(1, clients[0].embed(image).embeddings.shape[1])
    )
    turn, lock = iter(range(1 << 60)), threading.Lock()

    def ask():
        with lock:
            number = next(turn)
        client = clients[number % 2]
        kind = number // 2 % 10
        if kind == 8:
            client.embed(b"no image")
        elif kind == 9:
            with contextlib.suppress(NotFound):
                strangers[number % 2].embed(image)
        elif kind in (6, 7):
            client.search_embeddings(queries)
        else:
            client.search(image)

    done, rows = 0, []
    for mark in MARKS:
        count = max(int(mark * options.memory_requests), done + 1)
        ask_at_once(ask, 8, count - done)
        done = count
        time.sleep(1)
        megabytes = resident_mb(process.pid)
        growth = None
        if rows:
            before, was = int(rows[-1][0].replace(",", "")), rows[-1][1]
            growth = (megabytes - was) / (done - before) * 1000
        rows.append([f"{done:,}", megabytes, growth])
    measure.print_table(
        "The server's resident memory, 8 clients, both protocols",
        ["requests", "MB", "MB more per 1,000"],
        rows,
    )


def resident_mb(pid):
    """MB that a process holds now, without the pages of files."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/PID/status has no RssAnon; this needs Linux.")


def main(argv=None):
    """Serves, asks, and prints the table."""
    options = parse(argv)
    if options.prepare:
        prepare(options)
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    with model_base(options) as base, served(base) as (process, addresses):
        if options.memory:
            memory(options, process, addresses)
        else:
            speed(options, base, addresses, process.pid)


if __name__ == "__main__":
    main()
