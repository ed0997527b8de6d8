"""Joins requests as TF Serving's batching does, between the local server and a model.

As its `BatchingSession` and `BatchScheduler`: requests of one signature that wait
together are joined, the last one of a batch that is full split in two. Where tensors of
one name differ in more than their rows, every request of the batch fails. Outputs are
cut by rows; those of a request that was split are put together by `tensor::Concat`,
which takes all parts to be as wide as the first, and ends the process where they are
not.
"""

import collections
import threading

import numpy as np

from tfembed.serving.servable import Servable
from tfembed.serving.status import StatusError

_PATIENCE = 0.3  # seconds


class Batching:
    """What stands in for `Servable.predict`, see `install`.

    Args:
        callers: So many requests of one signature are joined, fewer if no more come.
        most_rows: The most rows that are run at once.

    Attributes:
        joined: How many requests were answered, or failed, together with others.
        died: How often the server's process would have ended.
    """

    def __init__(self, callers, most_rows):
        self.joined = self.died = 0
        self._callers, self._most_rows = callers, most_rows
        self._predict = Servable.predict
        self._waiting = collections.defaultdict(list)
        self._lock = threading.Lock()

    def install(self, monkeypatch):
        """Joins all requests to predict of the local servers of this process."""

        def predict(servable, signature_name, inputs, output_filter=()):
            return self._wait(servable, signature_name, inputs, output_filter)

        monkeypatch.setattr(Servable, "predict", predict)

    def _wait(self, servable, *question):
        signature_name, inputs, output_filter = question
        if len({len(value) for value in inputs.values()}) != 1:
            raise StatusError(
                "INVALID_ARGUMENT",
                "Batching session Run() input tensors must have equal 0th-dimension "
                "size",
            )
        task = _Task(inputs)
        key = id(servable), signature_name, tuple(output_filter)
        mine = self._take(key, self._callers, task)
        if not mine and not task.ready.wait(_PATIENCE):
            mine = self._take(key, 1)
        if mine:
            self._run(servable, signature_name, output_filter, mine)
        task.ready.wait()
        if task.error:
            raise task.error
        return task.answer

    def _take(self, key, least, *more):
        """Takes all that wait, if they are so many."""
        with self._lock:
            waiting = self._waiting[key]
            waiting += more
            if len(waiting) < least:
                return []
            self._waiting[key] = []
            return waiting

    def _run(self, servable, signature_name, output_filter, tasks):
        self.joined += len(tasks) if len(tasks) > 1 else 0
        for batch in self._batches(tasks):
            try:
                merged = _merged([task.part(rows) for task, rows in batch])
                found = self._predict(servable, signature_name, merged, output_filter)
                _check_rows(found, sum(len(rows) for _, rows in batch))
            except StatusError as error:
                for task, _ in batch:
                    task.error = error
                continue
            start = 0
            for task, rows in batch:
                stop = start + len(rows)
                task.parts.append({k: v[start:stop] for k, v in found.items()})
                start = stop
        for task in tasks:
            try:
                task.finish()
            except _Died:
                self.died += 1
                task.error = StatusError("UNAVAILABLE", "the process has ended")
            task.ready.set()

    def _batches(self, tasks):
        """Lists of `(task, range of its rows)`, `most_rows` each but for the last."""
        batches, room = [], 0
        for task in tasks:
            start = 0
            while start < task.size:
                if not room:
                    batches.append([])
                    room = self._most_rows
                stop = min(start + room, task.size)
                batches[-1].append((task, range(start, stop)))
                room -= stop - start
                start = stop
        return batches


class _Died(Exception):
    pass


class _Task:
    def __init__(self, inputs):
        self.inputs = inputs
        self.size = len(next(iter(inputs.values())))
        self.parts, self.answer, self.error = [], None, None
        self.ready = threading.Event()

    def part(self, rows):
        return {k: v[rows.start : rows.stop] for k, v in self.inputs.items()}

    def finish(self):
        if self.error:
            return
        for name, first in self.parts[0].items():
            if any(part[name].shape[1:] != first.shape[1:] for part in self.parts):
                raise _Died
        self.answer = {
            name: np.concatenate([part[name] for part in self.parts])
            for name in self.parts[0]
        }


def _merged(parts):
    for name in parts[0]:
        if len({part[name].shape[1:] for part in parts}) > 1:
            raise StatusError(
                "FAILED_PRECONDITION",
                f"Tensors with name '{name}' from different tasks have different "
                "shapes and padding is turned off. Set pad_variable_length_inputs to "
                "true, or ensure that all tensors with the same name have equal "
                "dimensions starting with the first dim.",
            )
    return {
        name: np.concatenate(
            [np.asarray(part[name], _kind(part[name])) for part in parts]
        )
        for name in parts[0]
    }


def _kind(value):
    return object if value.dtype.kind in "OSU" else value.dtype


def _check_rows(outputs, rows):
    for value in outputs.values():
        if not value.ndim or len(value) != rows:
            raise StatusError(
                "FAILED_PRECONDITION",
                "Batched output tensor's 0th dimension does not equal the sum of the "
                "0th dimension sizes of the input tensors",
            )
