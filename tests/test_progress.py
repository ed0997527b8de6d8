"""What is said of a long work, by a clock that the test sets."""

import time

import pytest

from tfembed.progress import Progress, Stages, TimedLines, duration


@pytest.fixture
def clock(monkeypatch):
    """A list whose only number is the time."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (4.2, "4 s"),
        (89, "89 s"),
        (200, "3 min"),
        (89 * 60, "89 min"),
        (90 * 60, "1 h 30 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words


def test_says_how_far_it_is(clock):
    lines = []
    progress = Progress(lines.append, 100000, "images", done=20000)
    for clock[0], count in ((3, 1000), (4, 10), (10, 2990)):
        progress.step(count)
    clock[0] = 200
    assert progress.seconds == 200
    progress.end()
    assert lines == [
        "going on after 20,000 of 100,000 images",
        "24,000 of 100,000 images, 429 a second, 3 min left",
        "4,000 images in 3 min",
    ]


def test_a_stage_is_named_and_what_is_counted_need_not_be(clock):
    lines = []
    progress = Progress(lines.append, 110, stage="ranking")
    for clock[0], done in ((2, 20), (10, 60), (11, 70)):
        progress.reach(done)
    progress.end()
    assert lines == ["ranking: 60 of 110, 5 a second, 10 s left", "ranking: 70 in 11 s"]


def test_stages_follow_each_other(clock):
    lines = []
    stages = Stages(lines.append)
    for clock[0], *step in (
        (0, "embedding", 10, 20),
        (6, "embedding", 20, 20),
        (7, "ranking", 1, 9),
        (11, "ranking", 2, 9),
        (13, "ranking", 7, 9),
    ):
        stages.step(*step)
    assert lines == [
        "embedding: 20 of 20, 2 a second, 0 s left",
        "ranking: 7 of 9, 1 a second, 2 s left",
    ]


def test_lines_with_the_seconds_since_the_last(clock):
    lines = []
    say = TimedLines(lines.append)
    for clock[0], line in ((1.5, "one"), (1.75, "two")):
        say(line)
    assert lines == ["one (1.5 s)", "two (0.2 s)"] and not say.silent


def test_nobody_need_listen(clock):
    progress = Progress(None, 10, "images", done=1)
    for clock[0] in (6, 12):
        progress.step()
    progress.end()
    say = TimedLines(None)
    say("line")
    assert say.silent
