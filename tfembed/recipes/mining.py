"""Between two rounds of training: a GAN learns, positives are mined.

Both go on where they were after a kill: the GAN at its last whole epoch, mining at its
last whole pass. What is random is a function of seed, round, epoch or pass, and step.
"""

import csv
import io
import math
import time

import numpy as np

from tfembed.formats.npz import Npz, read_npz
from tfembed.recipes.training import check_batch

FOLDER = "mining"
MINING_BATCH = 256
MEASURED = 20000
LISTED = 50
PROGRESS_SECONDS = 30
_REMINE = "Remove it: the round's mining then starts again."
_GAN, _MINING = 101, 102  # what a seed is for


class Mining:
    """What finds the positives of a run, round after round.

    Below the run directory it writes `mining/backup/`, the GAN; `mining/gan.csv`, a
    row for each of its epochs; `mining/sets.npz`, the sets after each pass; and when
    a round is over `positives.npz`, the sets as two arrays, and a row of `rounds.csv`.

    Args:
        run: The `Run`, of an `isl.Config`.
    """

    def __init__(self, run):
        self.run = run
        self.config = run.config
        self.directory = run.directory
        self.endpoint = run.networks.endpoint
        (run.directory / FOLDER).mkdir(exist_ok=True)
        if self.config.positives == "proxies":
            self._build()

    def _build(self):
        """Makes the GAN, what mines with it, and its backup."""
        from tfembed.callbacks import Backup
        from tfembed.training import ProxyGAN, ProxyMiner

        run, config = self.run, self.config
        replicas = run.strategy.num_replicas_in_sync
        check_batch(config.gan_batch_size, run.data.train.size, replicas)
        with run.strategy.scope():
            self.gan = ProxyGAN(
                run.networks.encoder,
                self.endpoint,
                positive=config.triplet_positive,
                alpha=config.alpha,
                fakes=config.fakes,
                generator_loss=config.generator_loss,
                candidates=config.candidates,
                seed=config.seed,
            )
            self.gan.compile(config.gan_learning_rate)
        self.miner = ProxyMiner(
            self.gan,
            score=config.score,
            rule=config.radius_rule,
            radius=config.radius,
            neighbors=config.neighbors,
            proxies=config.proxies,
        )
        self.backup = Backup(run.directory / FOLDER / "backup")

    def before_round(self, number):
        """Gives the endpoint layer the positives of a round, mining what is missing.

        Args:
            number: Of the round, from 1; round 0 has no positives.
        """
        from tfembed.training import PositiveSets

        rows = self._rows("rounds.csv")
        if len(rows) >= number:
            self._tell_endpoint(self._saved_sets())
            return
        sets = PositiveSets.alone(self.run.data.train.size)
        if rows:
            sets = self._saved_sets()
        self._tell_endpoint(sets)  # negatives are not chosen among them
        if self.config.positives == "nearest":
            epochs, (sets, seen) = [], self._take_nearest(number, sets)
        else:
            epochs = self._train_gan(number)
            sets, seen = self._mine(number, sets)
        cut = self._tell_endpoint(sets)
        if not sets.others:
            self.run.say(
                f"round {number}: no positives were found; training goes on without. "
                "Take a smaller --radius (a larger one with --radius-rule euclidean), "
                "a smaller --score, or more --gan-epochs."
            )
        row = {
            "round": number,
            "gan_epochs": len(epochs),
            "generator_loss": _last(epochs, "generator_loss"),
            "discriminator_loss": _last(epochs, "discriminator_loss"),
            "passes": seen["passes"],
            "accepted": seen["accepted"],
            "positives_per_image": sets.mean_others,
            "images_with_positives": float(np.mean(sets.counts > 1)),
            "largest_set": int(sets.counts.max()),
            "cut_sets": cut,
            **self._precision(sets),
            "seconds": sum(float(each["seconds"]) for each in epochs) + seen["seconds"],
        }
        self.directory.write_npz(
            "positives.npz", offsets=sets.offsets, indices=sets.indices
        )
        self._write_rows("rounds.csv", [*rows, row])
        told = f"round {number}: {sets.mean_others:.2f} positives an image"
        if math.isfinite(row["precision"]):
            told += (
                f", {row['precision']:.1%} of them of its class (as many nearest "
                f"neighbours: {row['neighbor_precision']:.1%})"
            )
        self.run.say(told)

    def _tell_endpoint(self, sets):
        """Gives sets to the endpoint layer; says, and returns, how many were cut."""
        cut = self.endpoint.set_positives(sets.offsets, sets.indices)
        if cut:
            self.run.say(
                f"{cut} images have more than {self.endpoint.width} positives; so many "
                "of them count, drawn at random (--set-width)"
            )
        return cut

    def _train_gan(self, number):
        """Trains the GAN of a round; returns the rows of its epochs."""
        name = f"{FOLDER}/gan.csv"
        done = self.backup.restore(self.gan)
        rows = self._rows(name)[:done]
        self._write_rows(name, rows)
        before = sum(int(row["round"]) < number for row in rows)
        if self.gan_is_trained(rows[before:]):
            return rows[before:]
        last = before + self.config.gan_epochs
        batches = self.run.data.train.epochs(
            self.config.gan_batch_size,
            _seed(self.config.seed, _GAN),
            done,
            last,
            self.run.augmentation,
            lanes=2,
        )
        self.gan.fit(
            batches,
            initial_epoch=done,
            epochs=last,
            steps_per_epoch=-(-self.run.data.train.size // self.config.gan_batch_size),
            callbacks=[self._log_of(name, number, rows, before), self.backup],
            shuffle=False,
            verbose=0,
        )
        return rows[before:]

    def gan_is_trained(self, rows):
        """Tells from the epochs of a round whether the GAN is trained.

        It is when the best loss of the generator is `gan_patience` epochs old and the
        last one at most `gan_ceiling`, not before `gan_least_epochs`; and after
        `gan_epochs` in any case.

        Args:
            rows: The epochs' rows, in order.
        """
        losses = [float(row["generator_loss"]) for row in rows]
        if len(losses) >= self.config.gan_epochs:
            return True
        if len(losses) < max(1, self.config.gan_least_epochs):
            return False
        if losses[-1] > self.config.gan_ceiling:
            return False
        return len(losses) - 1 - int(np.argmin(losses)) >= self.config.gan_patience

    def _log_of(self, name, number, rows, before):
        """Returns the callback that keeps `rows`, and stops the GAN's training."""
        from tensorflow import keras

        mining = self

        class Log(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                self.started = time.perf_counter()

            def on_epoch_end(self, epoch, logs=None):
                losses = {
                    key: float(logs[key])
                    for key in ("generator_loss", "discriminator_loss")
                }
                if not all(map(math.isfinite, losses.values())):
                    raise ValueError(
                        f"The GAN's losses became {losses} in its epoch {epoch + 1}; "
                        "the epoch before it is backed up. Take a smaller "
                        "--gan-learning-rate, in another --run-dir."
                    )
                seconds = round(time.perf_counter() - self.started, 2)
                rows.append(
                    {"round": number, "epoch": epoch, **losses, "seconds": seconds}
                )
                mining._write_rows(name, rows)
                mining.run.say(
                    f"round {number}: GAN epoch {len(rows) - before} of at most "
                    f"{mining.config.gan_epochs}, {seconds:.0f} s, losses: generator "
                    f"{losses['generator_loss']:.3f}, discriminator "
                    f"{losses['discriminator_loss']:.3f}"
                )
                self.model.stop_training = mining.gan_is_trained(rows[before:])

        return Log()

    def _mine(self, number, sets):
        """Mines pass after pass; returns the sets, and what the last pass saw."""
        from tfembed.training import PositiveSets

        path = self.directory / FOLDER / "sets.npz"
        seen = {"passes": 0, "accepted": 0.0, "score": 0.0, "pairs": 0, "seconds": 0.0}
        if path.exists():
            saved = read_npz(path, ["round", "offsets", "indices", *seen], _REMINE)
            if int(saved["round"]) == number:
                sets = PositiveSets(saved["offsets"], saved["indices"])
                seen = {key: saved[key].item() for key in seen}
                self._tell_endpoint(sets)  # as the pass did that found them
        size = self.config.gan_batch_size
        size *= max(1, MINING_BATCH // size)  # replicas share its last batch as well
        while not self.enough(number, sets, seen):
            turn = number * self.config.mining_passes + seen["passes"]
            batches = self.run.data.train.epochs(
                size,
                _seed(self.config.seed, _MINING),
                turn,
                turn + 1,
                self.run.augmentation,
                lanes=2,
            )
            start = time.perf_counter()
            sets, found = self.miner.mine(
                batches,
                sets,
                turn,
                self.run.strategy,
                self._progress(number, f"mining pass {seen['passes'] + 1}"),
                self._limit(number) if self.config.mining_keep == "best" else math.inf,
            )
            seconds = seen["seconds"] + time.perf_counter() - start
            seen = {**found, "passes": seen["passes"] + 1, "seconds": seconds}
            self.directory.write_npz(
                f"{FOLDER}/sets.npz",
                offsets=sets.offsets,
                indices=sets.indices,
                round=np.int64(number),
                **{key: np.asarray(value) for key, value in seen.items()},
            )
            self._tell_endpoint(sets)
            self.run.say(
                f"round {number}: mining pass {seen['passes']} of at most "
                f"{self.config.mining_passes}, {sets.mean_others:.2f} positives an "
                f"image, {seen['accepted']:.0%} of the proxies accepted"
            )
        return sets, seen

    def enough(self, number, sets, seen):
        """Tells whether mining a round is over: no pass after that one.

        It is when an image has `mining_target * number` positives on average, when a
        pass found none, and after `mining_passes` passes in any case.
        """
        if seen["passes"] >= self.config.mining_passes:
            return True
        if seen["passes"] and not seen["pairs"]:
            return True
        return sets.others > self._limit(number) - 2  # pairs count twice

    def _limit(self, number):
        """Returns how many other members all sets together should have."""
        return int(self.config.mining_target * number * self.run.data.train.size)

    def _take_nearest(self, number, sets):
        """Takes the closest pairs of the bank; returns as `_mine`."""
        from tfembed.training import NeighborMiner

        start = time.perf_counter()
        miner = NeighborMiner(self.endpoint.bank, self.config.neighbors)
        with self.run.strategy.scope():
            sets = miner.mine(
                sets, self._limit(number), self._progress(number, "nearest neighbours")
            )
        seconds = time.perf_counter() - start
        return sets, {"passes": 1, "accepted": math.nan, "seconds": seconds}

    def _progress(self, number, what):
        """Returns what says, now and then, how far something is."""
        from tfembed.progress import duration

        start = told = time.perf_counter()

        def report(done, steps):
            nonlocal told
            now = time.perf_counter()
            if now - told < PROGRESS_SECONDS or done == steps:
                return
            told = now
            left = (now - start) / done * (steps - done)
            self.run.say(
                f"round {number}: {what}, {done / steps:.0%}, about {duration(left)} "
                "left"
            )

        return report

    def _precision(self, sets):
        """Measures sets by the labels, which are used for nothing else."""
        labels = self.run.data.train.labels
        nothing = {
            "precision": math.nan,
            "neighbor_precision": math.nan,
            "closest_precision": math.nan,
        }
        if labels is None or not sets.others:
            return nothing
        import tensorflow as tf

        bank = np.asarray(tf.convert_to_tensor(self.endpoint.bank.variable))
        same_count, closest = neighbor_precision(bank, labels, sets.counts - 1)
        return {
            "precision": sets.precision(labels),
            "neighbor_precision": same_count,
            "closest_precision": closest,
        }

    def _saved_sets(self):
        """Returns the sets of the last whole round."""
        from tfembed.training import PositiveSets

        size = self.run.data.train.size
        advice = "Bring it back from a copy, or start the run again in a new directory."
        with Npz(self.directory / "positives.npz", advice) as saved:
            offsets = saved.array("offsets", "integers", (size + 1,))
            return PositiveSets(offsets, saved.array("indices", "integers", ("n",)))

    def _rows(self, name):
        path = self.directory / name
        if not path.exists():
            return []
        with open(path, newline="") as file:
            return list(csv.DictReader(file))

    def _write_rows(self, name, rows):
        buffer = io.StringIO(newline="")
        if rows:
            writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        self.directory.write_bytes(name, buffer.getvalue().encode())


def neighbor_precision(rows, labels, counts, measured=MEASURED):
    """Measures plain nearest neighbours, as many as there are mined positives.

    Args:
        rows: The bank, `(size, dim)`.
        labels: `(size,)`.
        counts: `(size,)`, how many positives each instance has.
        measured: Of so many instances at most, a fixed random choice, neighbours are
            searched (among all).

    Returns:
        The share of neighbours with the instance's label, when each instance is given
        its nearest `counts`; and when as many pairs in all are given to the closest
        pairs of all, wherever they are (of the 50 nearest of each).
    """
    from tfembed.metrics import nearest

    labels, counts = np.asarray(labels), np.asarray(counts)
    size = len(rows)
    chosen = np.arange(size)
    if size > measured:
        chosen = np.random.default_rng(0).permutation(size)[:measured]
    chosen = chosen[np.argsort(counts[chosen], kind="stable")]
    right = asked = 0
    scores, hits = [], []
    for part in np.array_split(chosen, max(1, len(chosen) // 2000)):
        k = min(size - 1, max(LISTED, counts[part].max()))
        found, columns = nearest(rows[part], rows, k + 1)
        other = columns != part[:, None]
        rank = np.cumsum(other, axis=1)
        hit = other & (labels[columns] == labels[part][:, None])
        own = other & (rank <= counts[part][:, None])
        right, asked = right + np.sum(hit & own), asked + np.sum(own)
        listed = other & (rank <= LISTED)
        scores.append(found[listed])
        hits.append(hit[listed])
    scores, hits = np.concatenate(scores), np.concatenate(hits)
    closest = np.argsort(-scores, kind="stable")[:asked]
    return float(right / max(1, asked)), float(np.mean(hits[closest]))


def _last(rows, name):
    """Returns a number of the last row, NaN where there is none."""
    return float(rows[-1][name]) if rows else math.nan


def _seed(seed, purpose):
    """Returns an integer seed for one purpose, unlike the encoder's."""
    return int(np.random.SeedSequence([seed, purpose]).generate_state(1)[0])
