"""Supervised training from scratch on photos: what the recipe's defaults are worth.

    python benchmarks/from_scratch.py --photos clothing.tar --factors
    python benchmarks/from_scratch.py --photos clothing.tar
    python benchmarks/from_scratch.py --photos clothing.tar --reasons

Photos of clothes (the data set clothing-dataset-small, a folder or a tar file with
`train`, `validation` and `test`), squashed to 64 px; the small convolutional network
from random weights; ten epochs, 470 batches of 64. All else is as
`tfembed.recipes.supervised` has it by default, except what a row says.

`--factors` trains a few losses with one setting changed at a time, against what the
recipe's defaults were before (`BEFORE`) and against what they are now; only the
validation photos choose. Without it, every loss of the recipe is trained once a seed by
its defaults, and the softmax classifier of the same network; the test photos are
measured once, at the end. `--reasons` takes the losses that ended below the raw pixels'
.40, and tries what may have held each of them back: a higher rate, thrice the time, or
the settings of its own in `REASONS`; again by the validation photos. Reported is the
accuracy of the vote of 10 neighbours among the training photos (cosine, temperature
0.07).

A run that is finished is not run again; `--table` trains nothing.
"""

import argparse
import dataclasses
import json
import os
import statistics
import sys
import time
import types
from pathlib import Path

import numpy as np
from pretrained import unpacked_photos

ROOT = Path(__file__).resolve().parent.parent
JITTER = ("brightness", "contrast", "saturation", "hue", "grayscale")
NO_JITTER = dict.fromkeys(JITTER, 0.0)
MILD = {
    "brightness": 0.1,
    "contrast": 0.2,
    "saturation": 0.2,
    "hue": 0.02,
    "grayscale": 0.0,
}
STRONG = {
    "brightness": 0.3,
    "contrast": 0.4,
    "saturation": 0.4,
    "hue": 0.4,
    "grayscale": 0.2,
}
BEFORE = {
    **STRONG,
    "crop_min": 0.5,
    "flip": 0.0,
    "head_norm": False,
    "learning_rate": 0.001,
    "warmup_epochs": 0,
    "samples_per_class": 16,
    "proxy_rate": 1.0,
}
FACTORS = {
    "before": {},
    "norm on the head": {"head_norm": True},
    "no jitter": NO_JITTER,
    "mild jitter": MILD,
    "flips": {"flip": 0.5},
    "no crop": {"crop_min": 1.0},
    "rate .003": {"learning_rate": 0.003},
    "rate .0003": {"learning_rate": 0.0003},
    "an epoch of warm-up": {"warmup_epochs": 1},
    "K 8": {"samples_per_class": 8},
    "K 8, no crop": {"samples_per_class": 8, "crop_min": 1.0},
    "K 8, half a crop": {"samples_per_class": 8, "crop_min": 0.8},
    "proxies' rate 10": {"proxy_rate": 10.0},
    "proxies' rate 100": {"proxy_rate": 100.0},
    "batch norms' momentum .9": {"momentum": 0.9},
}
# What may have held back the losses that end below raw pixels' .40.
REASONS = {
    "hardnet": {"loss_options": "margin=0.5"},
    "tuplet_margin": {"loss_options": "scale=16"},
    "contrastive": {"loss_options": "margin=0.5"},
    "circle": {"loss_options": "gamma=16"},
    "facility_location": {"loss_options": "gamma=0.1"},
    "nt_xent": {"loss_options": "temperature=0.3"},
    "proxy_anchor": {"loss_options": "alpha=8"},
    "range_loss": {"loss_options": "margin=2.0"},
    "invariant_spread": {"loss_options": "temperature=0.3"},
    "npair": {"unit_norm": False},
    "arcface": {"loss_options": "scale=16,margin=0.1"},
    "large_margin_softmax": {"loss_options": "margin=2"},
    "coupled_clusters": {"loss_options": "margin=0.2"},
    "intra_pair_variance": {
        "loss_options": "positive_epsilon=0.1,negative_epsilon=0.1"
    },
    "sphereface": {"loss_options": "margin=2"},
    "affinity_projection": {"unit_norm": False},
}
TRIED = {
    "now": {},
    "rate .003": {"learning_rate": 0.003},
    "thrice as long": {"epochs": 30},
}
FEW = ("multi_similarity", "norm_softmax", "proxy_anchor", "sup_con", "triplet")
PROXY_LOSSES = ("norm_softmax", "proxy_anchor")


def parse(argv=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", required=True, help="a folder, or a tar file")
    parser.add_argument("--factors", action="store_true", help="choose the defaults")
    parser.add_argument(
        "--reasons", action="store_true", help="what holds back the weakest losses"
    )
    parser.add_argument("--losses", nargs="+", help="some of them, by name")
    parser.add_argument("--rows", nargs="+", help="with --factors, some of them")
    parser.add_argument(
        "--change", help="JSON of settings that every row has, to go on from there"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=10, help="of 47 batches")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "from_scratch")
    parser.add_argument("--table", action="store_true", help="train nothing")
    return parser.parse_args(argv)


def load(photos, size, runs):
    """Returns the photos as `ImageData`, in memory."""
    from tfembed.data import load_images
    from tfembed.data.array_split import ArraySplit

    data = load_images(f"folder:{unpacked_photos(photos, runs)}", image_size=size)

    def in_memory(split):
        images = np.concatenate(
            [
                split.read(rows)
                for rows in np.array_split(np.arange(split.size), split.size // 256 + 1)
            ]
        )
        return ArraySplit(np.uint8(images), split.labels, split.names)

    parts = ("train", "validation", "test")
    return dataclasses.replace(
        data, **{part: in_memory(getattr(data, part)) for part in parts}
    )


def settings_of(loss, seed, changes, options):
    """Returns the fields of a recipe's config that are not its defaults."""
    from tfembed.recipes.objectives import TWO_ROWS

    settings = {
        "split": "seen",
        "limit": None,
        "image_size": options.size,
        "epochs": options.epochs,
        "loss": "norm_softmax" if loss == "softmax" else loss,
        "seed": seed,
        **changes,
    }
    if loss in TWO_ROWS:
        # Two images of a class and not more; there are ten classes.
        settings.update(batch_size=20, samples_per_class=2, steps_per_epoch=47)
    return settings


def train(loss, settings, data):
    """Trains one setting; returns what neighbours reach, and the seconds."""
    from tensorflow import keras

    from tfembed.data import Augmentation
    from tfembed.metrics import embed, weighted_knn_hits
    from tfembed.recipes import supervised, training

    keras.backend.clear_session()
    settings = dict(settings)
    momentum = settings.pop("momentum", None)
    config = supervised.Config(**settings)
    recipe = supervised.Supervised()
    keras.utils.set_random_seed(config.seed)
    augmentation = Augmentation(
        data.image_shape,
        crop_area=(config.crop_min, 1.0),
        **{name: getattr(config, name) for name in (*JITTER, "flip")},
    )
    build = recipe.build_classifier if loss == "softmax" else recipe.build
    networks = training.compiled(recipe, build, config, data)
    if momentum is not None:
        for layer in networks.backbone.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = momentum
    run = types.SimpleNamespace(
        config=config,
        data=data,
        networks=networks,
        augmentation=augmentation,
        steps=recipe.steps(config, data),
    )
    start = time.perf_counter()
    history = networks.model.fit(
        recipe.batches(run, 0, config.epochs).prefetch(2),
        epochs=config.epochs,
        steps_per_epoch=run.steps,
        callbacks=recipe.callbacks(run),
        verbose=0,
    ).history["loss"]
    seconds = time.perf_counter() - start
    embeddings = {
        part: embed(networks.encoder, getattr(data, part).batches(500))
        for part in ("train", "validation", "test")
    }
    found = {"loss": history, "seconds": seconds}
    for part in ("validation", "test"):
        hits = weighted_knn_hits(
            embeddings[part],
            getattr(data, part).labels,
            embeddings["train"],
            data.train.labels,
            (10, 1),
        )
        found[part] = [float(hits[k].mean()) for k in (10, 1)]
    rows = embeddings["train"][np.random.default_rng(0).permutation(data.train.size)]
    half = min(500, len(rows) // 2)
    found["mean_cosine"] = float(np.mean(rows[:half] @ rows[half : 2 * half].T))
    return found


def pixels(data, size=32):
    """Returns what neighbours reach by the pixels themselves, squashed to 32 px."""
    from tfembed.metrics import weighted_knn_hits

    rows = {
        part: getattr(data, part).converted((size, size, 3))
        for part in ("train", "validation", "test")
    }
    rows = {
        part: np.float32(split.read(np.arange(split.size))).reshape(split.size, -1)
        for part, split in rows.items()
    }
    found = {}
    for part in ("validation", "test"):
        hits = weighted_knn_hits(
            rows[part] - 127.5,
            getattr(data, part).labels,
            rows["train"] - 127.5,
            data.train.labels,
            (10, 1),
        )
        found[part] = [float(hits[k].mean()) for k in (10, 1)]
    return found


def plan(options):
    """Returns `{(row, loss, seed): settings}`."""
    from tfembed.recipes.objectives import LOSSES

    change = json.loads(options.change or "{}")
    runs = {}
    if not (options.factors or options.reasons):
        for loss in options.losses or ["softmax", *LOSSES]:
            for seed in options.seeds:
                settings = settings_of(loss, seed, change, options)
                runs["now", loss, seed] = settings
        return runs
    if options.reasons:
        for row in options.rows or [*TRIED, "own settings"]:
            for loss in options.losses or REASONS:
                changes = {**change, **(TRIED[row] if row in TRIED else REASONS[loss])}
                for seed in options.seeds:
                    settings = {**settings_of(loss, seed, {}, options), **changes}
                    runs[row, loss, seed] = settings
        return runs
    for row in options.rows or FACTORS:
        for loss in options.losses or FEW:
            if row.startswith("proxies") and loss not in PROXY_LOSSES:
                continue
            for seed in options.seeds:
                changes = {**BEFORE, **change, **FACTORS[row]}
                runs[row, loss, seed] = settings_of(loss, seed, changes, options)
    return runs


def kept(loss, settings, data, options):
    """Trains, or reads what was trained before; `None` where it is not there."""
    import hashlib

    key = json.dumps([loss, settings], sort_keys=True)
    name = f"{loss}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.json"
    file = options.runs / name
    if not file.exists():
        if data is None:
            return None
        load = os.getloadavg()[0]
        found = {"settings": settings, "load": load, **train(loss, settings, data)}
        file.with_suffix(".tmp").write_text(json.dumps(found))
        os.replace(file.with_suffix(".tmp"), file)
        print(
            f"{loss} {settings}: validation {found['validation'][0]:.3f}, "
            f"{found['seconds']:.0f} s, load {load:.1f}",
            file=sys.stderr,
            flush=True,
        )
    return json.loads(file.read_text())


def mean(results, part, k=0):
    """Returns the mean over seeds of a share, as text."""
    values = [result[part][k] for result in results]
    return f"{statistics.mean(values):.3f}" if values else ""


def with_losses(results):
    """Returns the mean share of validation, and the first seed's losses, as text."""
    if not results:
        return ""
    history = results[0]["loss"]
    return f"{mean(results, 'validation')} ({history[0]:.3g} to {history[-1]:.3g})"


def main(argv=None):
    """Trains what is missing, prints the table."""
    options = parse(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    options.runs.mkdir(parents=True, exist_ok=True)
    data = None if options.table else load(options.photos, options.size, options.runs)
    runs, results = plan(options), {}
    for (row, loss, seed), settings in runs.items():
        found = kept(loss, settings, data, options)
        if found is not None:
            results[row, loss, seed] = found
    rows = list(dict.fromkeys(row for row, _, _ in runs))
    losses = list(dict.fromkeys(loss for _, loss, _ in runs))

    def of(row, loss):
        return [found for key, found in results.items() if key[:2] == (row, loss)]

    if options.reasons:
        print("Validation photos, by 10 neighbours (first and last loss):\n")
        print(f"| loss | {' | '.join(rows)} | own settings are |")
        print("|---" * (len(rows) + 2) + "|")
        for loss in losses:
            cells = [with_losses(of(row, loss)) for row in rows]
            own = ", ".join(f"{key} {value}" for key, value in REASONS[loss].items())
            print(f"| {loss} | {' | '.join(cells)} | {own} |")
        return
    if options.factors:
        print("Validation photos, by 10 neighbours:\n")
        print(f"| setting | {' | '.join(losses)} |")
        print("|---" * (len(losses) + 1) + "|")
        for row in rows:
            cells = [mean(of(row, loss), "validation") for loss in losses]
            print(f"| {row} | {' | '.join(cells)} |")
        return
    print("| loss | validation, 10 | test, 10 | R@1 | mean cosine | seconds |")
    print("|---" * 6 + "|")
    lines = []
    for loss in losses:
        found = of("now", loss)
        if found:
            cosine = statistics.mean(each["mean_cosine"] for each in found)
            seconds = statistics.mean(each["seconds"] for each in found)
            cells = [mean(found, "validation"), mean(found, "test")]
            cells += [mean(found, "test", 1), f"{cosine:.2f}", f"{seconds:.0f}"]
            lines.append((cells[1], f"| {loss} | {' | '.join(cells)} |"))
    if data is not None:
        raw = [pixels(data)]
        cells = [mean(raw, "validation"), mean(raw, "test"), mean(raw, "test", 1)]
        lines.append((cells[1], f"| (raw pixels, 32 px) | {' | '.join(cells)} | | |"))
    print("\n".join(line for _, line in sorted(lines, reverse=True)))


if __name__ == "__main__":
    main()
