"""Every command names the flag, the command or the value that was meant."""

import importlib
import io
import json
import subprocess
import sys
import time
from contextlib import redirect_stderr

import numpy as np
import pytest
from small_runs import ROOT, write_images
from test_startup import commands

from tfembed.command_line import CommandLine, near

# Commands without flags.
BARE = {"tfembed.recipes"}
# Commands that keep what they have done; recipes do where there is a --run-dir.
GOING_ON = {"tfembed.dedup", "tfembed.embed", "tfembed.publish"}


def parsers():
    """`(command, words before its flags, parser)` of every command there is."""
    found = []
    for command in sorted(set(commands()) - BARE):
        parser = parser_of(command)
        found.append((command, [], parser))
        for action in parser._actions:
            for name, below in getattr(action, "_name_parser_map", {}).items():
                found.append((command, [name], below))
    return found


def parser_of(command):
    """The parser that a command makes: it is asked for its help."""
    made = []
    parse = CommandLine.parse_known_args

    def remember(self, *arguments, **named):
        made.append(self)
        return parse(self, *arguments, **named)

    main = main_of(command)
    CommandLine.parse_known_args = remember
    try:
        with pytest.raises(SystemExit), redirect_stderr(io.StringIO()):
            main(["--no-such-flag"])
    finally:
        CommandLine.parse_known_args = parse
    assert made, f"{command} parses its flags by other means than `CommandLine`"
    return made[0]


def main_of(command):
    try:
        return importlib.import_module(f"{command}.__main__").main
    except ModuleNotFoundError:
        return importlib.import_module(command).main


def flags(parser):
    return [flag for flag in parser._option_string_actions if flag.startswith("--")]


def misspelt(flag):
    """Ways to get a flag wrong that have been seen."""
    yield "--" + flag[2:].replace("-", "_") + ("" if "-" in flag[2:] else "_")
    parts = flag[2:].split("-")
    yield "--" + parts[0] + "".join(part.title() for part in parts[1:]) + "s"
    if len(flag) > 7:
        yield flag[:5] + flag[6:]  # a letter forgotten
        yield flag[:4] + flag[5] + flag[4] + flag[6:]  # two the wrong way round


def said(parser, words):
    """What a parser says of words that it refuses."""
    text = io.StringIO()
    with pytest.raises(SystemExit) as stopped, redirect_stderr(text):
        parser.parse_args(words)
    assert stopped.value.code == 2
    return text.getvalue()


def test_every_command_and_every_flag_is_suggested():
    tried = 0
    for command, before, parser in parsers():
        known = flags(parser)
        for flag in known:
            for wrong in misspelt(flag):
                if any(each.startswith(wrong) for each in known):
                    continue  # short for it
                text = said(parser, [wrong, "3"])
                guess = text.split(f"{wrong} is not a flag. Did you mean ")[-1]
                assert flag in guess.split("?")[0].split(" or "), (
                    command,
                    *before,
                    wrong,
                    text,
                )
                tried += 1
    assert tried > 500


def test_every_choice_and_every_command_below_is_suggested():
    tried = 0
    for command, _, parser in parsers():
        for action in parser._actions:
            for choice in action.choices or ():
                if not isinstance(choice, str) or len(choice) < 4:
                    continue
                wrong = choice.replace("_", "-") if "_" in choice else f"{choice[:-1]}q"
                flag = "".join(f"{each}=" for each in action.option_strings[-1:])
                text = said(parser, [flag + wrong])
                assert "Did you mean " in text and choice in text.split("mean ")[1], (
                    command,
                    text,
                )
                tried += 1
    assert tried > 50


@pytest.mark.parametrize(
    ("word", "flag"),
    [
        ("--lr", "--learning-rate"),
        ("--learning_rate", "--learning-rate"),
        ("--learningRate", "--learning-rate"),
        ("--bs", "--batch-size"),
        ("--wd", "--weight-decay"),
        ("--img-size", "--image-size"),
        ("--num-epochs", "--epochs"),
        ("--data-set", "--dataset"),
        ("-lr", "--learning-rate"),
    ],
)
def test_what_people_type(word, flag):
    parser = parser_of("tfembed.recipes.supervised")
    assert near(word, flags(parser))[0] == flag
    assert f"{word} is not a flag. Did you mean {flag}" in said(parser, [word, "0.1"])


def test_nothing_is_suggested_for_what_is_like_nothing_and_abbreviations_stay():
    parser = parser_of("tfembed.recipes.supervised")
    text = said(parser, ["--zzzzqqq", "3"])
    assert "unrecognized arguments: --zzzzqqq 3" in text and "mean" not in text
    assert parser.parse_args(["--learning", "0.5"]).learning_rate == 0.5
    assert near("", ["--a"]) == near("--", ["--a"]) == []


def test_how_near_is_near():
    """Initials are of several words; .8 of the letters before a word; .6 are enough."""
    assert near("l", ["loss"]) == [] and near("lr", ["learning-rate"])
    assert near("abcde", ["abcde-of-others", "abcdx"]) == ["abcdx", "abcde-of-others"]
    assert near("abcde", ["abcyz", "abxyz"]) == ["abcyz"]


BEFORE_TENSORFLOW = """
import runpy, sys, time
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras"):
            print("TensorFlow starts")
            sys.exit(9)
sys.meta_path.insert(0, Watch())
command, *sys.argv[1:] = sys.argv[1:]
runpy.run_module(command, run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    ("command", "words", "sentence"),
    [
        (
            "recipes.instdisc",
            ["--dataset", "cifar"],
            "mean cifar10 or cifar100",
        ),
        ("recipes.supervised", ["--dataset", "fashon_mnist"], "mean fashion_mnist"),
        ("recipes.invaspread", ["--dataset", "folder:"], "folder:PATH"),
        ("recipes.isl", ["--dataset", "{images}"], "Did you mean folder:"),
        ("recipes.isl", ["--config", "{json}"], "Did you mean learning_rate"),
        ("recipes.supervised", ["--config", "{python}"], "Did you mean learning_rate"),
        ("recipes.supervised", ["--loss-options", "alhpa=3"], "Did you mean alpha"),
        ("evaluate", ["x.keras", "--dataset", "minst"], "Did you mean mnist"),
        ("embed", ["x.keras", "minst", "out"], "Did you mean mnist"),
        ("embed", ["x.keras", "folder:{images}", "out"], "'x.keras', which does not"),
        ("dedup", ["folder:{images}", "--encoder", "x.keras"], "which does not"),
        ("publish", ["x.keras", "out", "--gallery", "minst"], "which does not"),
        (
            "publish",
            ["x.keras", "out", "--gallery", "minst", "--batch-size", "0"],
            "`batch_size` must be",
        ),
    ],
)
def test_names_are_told_before_tensorflow_starts(command, words, sentence, tmp_path):
    files = {"json": "run.json", "python": "run.py", "images": "images"}
    files = {name: tmp_path / file for name, file in files.items()}
    files["images"].mkdir()
    files["json"].write_text(json.dumps({"lr": 0.1}))
    files["python"].write_text(
        "from tfembed.recipes.supervised import Config\nconfig = Config(lr=0.1)\n"
    )
    words = [word.format(**files) for word in words]
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", BEFORE_TENSORFLOW, f"tfembed.{command}", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    print(f"{time.monotonic() - started:.1f} s")
    assert "TensorFlow starts" not in done.stdout, done.stderr
    assert done.returncode in (1, 2)
    assert sentence in done.stderr and "Traceback" not in done.stderr


def test_a_missing_size_is_told_before_files_are_decoded(tmp_path, monkeypatch):
    from tfembed.data import checked_files, load_images

    write_images(tmp_path / "a", [(8 + number % 3, 9) for number in range(12)])
    decoded = []
    decode = checked_files._decode_one
    monkeypatch.setattr(
        checked_files, "_decode_one", lambda path: decoded.append(path) or decode(path)
    )
    with pytest.raises(ValueError, match="`image_size` must be given.*x9, .*x9"):
        load_images(f"folder:{tmp_path}")
    assert len(decoded) == 2
    # What does not decode is left out, whatever its header says.
    write_images(tmp_path / "b", [(8, 9)] * 11)
    for path in (tmp_path / "a").iterdir():
        path.unlink()
    broken = tmp_path / "b" / "0.png"
    content = bytearray(broken.read_bytes())
    content[16:20] = (99).to_bytes(4, "big")
    broken.write_bytes(content)
    data = load_images(f"folder:{tmp_path}")
    assert data.train.image_shape[:2] == (8, 9)
    assert [name for name, _ in data.train.skipped] == ["b/0.png"]


@pytest.mark.parametrize("more", [[], ["--split", "seen"]], ids=["default", "seen"])
def test_one_class_is_not_told_of_a_split_that_nobody_set(more, tmp_path, capsys):
    from tfembed.recipes import supervised

    write_images(tmp_path / "images" / "only", [(16, 16)] * 12)
    words = ["--dataset", f"folder:{tmp_path / 'images'}", "--run-dir"]
    with pytest.raises(SystemExit):
        supervised.main([*words, str(tmp_path / "run"), *more])
    text = capsys.readouterr().err.splitlines()[-1]
    assert "two" in text and "split" not in text.replace(str(tmp_path), "")
    assert np.all([word in text for word in ("classes", "folder", "Received")])


def test_every_command_that_is_stopped_by_hand_says_so(capsys, monkeypatch, tmp_path):
    """The server ends by itself, with 0."""
    monkeypatch.chdir(tmp_path)
    for command in sorted(set(commands()) - BARE - {"tfembed.serving"}):
        inside = "tfembed.recipes.training.quiet_start"
        if not command.startswith("tfembed.recipes."):
            inside = "tfembed.command_line.CommandLine.parse_known_args"
        with monkeypatch.context() as patched:
            patched.setattr(inside, _press_control_c)
            with pytest.raises(SystemExit) as stopped:
                main_of(command)([])
        assert stopped.value.code == 130, command
        goes_on = "; the same command goes on from here" * (command in GOING_ON)
        assert capsys.readouterr().err == f"\nstopped{goes_on}\n", command


def _press_control_c(*arguments, **named):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("word", "known", "names"),
    [
        ("learning-rate", ["learning_rate", "learning_rates"], ["learning_rate"]),
        ("lr", ["lars", "lrs", "learning_rate"], ["learning_rate"]),
        ("optimiser", ["optimal", "momentum", "optimizer"], ["optimizer", "optimal"]),
        ("rate", ["momentum", "proxy_rate", "late"], ["proxy_rate", "late"]),
        ("??", ["learning_rate"], []),
    ],
)
def test_what_is_near_comes_in_the_order_that_is_documented(word, known, names):
    assert near(word, known) == names
