"""Command lines that say what a mistyped flag or value may have been meant to be."""

import argparse
import contextlib
import difflib
import re
import sys

_ALIKE = 0.6  # share of letters in order that two names have in common


class CommandLine(argparse.ArgumentParser):
    """An `ArgumentParser` whose errors name the nearest flag, command or choice."""

    def parse_known_args(self, args=None, namespace=None):
        """As in `argparse`, remembering what was given."""
        self._given = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(self._given, namespace)

    def error(self, message):
        """Ends the process with the message, and with what may have been meant."""
        for flag in self._unknown_flags():
            guess = suggestion(flag, list(self._flags()))
            if guess:
                message += f"\n{flag} is not a flag. {guess}"
        super().error(message)

    def _check_value(self, action, value):
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            guess = suggestion(str(value), [str(each) for each in action.choices])
            if not guess:
                raise
            raise argparse.ArgumentError(action, f"{error.message}. {guess}") from None

    def _unknown_flags(self):
        known = set(self._flags())
        given = getattr(self, "_given", [])
        if "--" in given:
            given = given[: given.index("--")]
        for word in given:
            flag = word.partition("=")[0]
            begins = any(each.startswith(flag) for each in known)
            if re.match(r"--?[A-Za-z]", flag) and flag not in known and not begins:
                yield flag

    def _flags(self):
        """Yields the flags of this command, and of those below that were named."""
        yield from self._option_string_actions
        given = getattr(self, "_given", [])
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                for name, command in action.choices.items():
                    if name in given:
                        yield from command._flags()


@contextlib.contextmanager
def stopped_by_hand(advice=""):
    """Ends the process with status 130 and one line where Ctrl-C is pressed inside.

    Also a decorator of a command's `main`.

    Args:
        advice: What becomes of the work, as `"the same command goes on from here"`.
    """
    try:
        yield
    except KeyboardInterrupt:
        print("\nstopped" + (advice and f"; {advice}"), file=sys.stderr)
        raise SystemExit(130) from None


def say_error(error):
    """Prints the line on standard error that a command ends with.

    Of an `OSError` it has what is amiss and the file, without its number; a full disk
    says a sentence of its own.
    """
    words = error.strerror if isinstance(error, OSError) else None
    if words and error.filename is not None:
        words = f"{words}: {error.filename!r}"
    print(f"error: {words or error}", file=sys.stderr)


def suggestion(word, known):
    """Returns a sentence on the names that a word is near to; empty where none is.

    Args:
        word: What was given.
        known: The names that there are.
    """
    names = near(word, known)
    return f"Did you mean {' or '.join(names)}?" if names else ""


def near(word, known):
    """Returns the names that a word is nearest to, at most three, the nearest first.

    A name is near that has the same letters in another spelling (`learning_rate`), the
    word as its initials (`lr`), much the same letters in order, or a word in common.

    Args:
        word: What was given.
        known: The names that there are.
    """
    words = _words(word)
    if not words:
        return []
    plain = "".join(words)
    ranked = []
    for name in known:
        parts = _words(name)
        letters = "".join(parts)
        alike = difflib.SequenceMatcher(None, plain, letters).ratio()
        if plain == letters:
            rank = 0
        elif len(parts) > 1 and plain == "".join(part[0] for part in parts):
            rank = 1
        elif alike >= 0.8:
            rank = 2
        elif any(len(part) > 2 and part in words for part in parts):
            rank = 3
        elif alike >= _ALIKE:
            rank = 4
        else:
            continue
        ranked.append((rank, -alike, name))
    spelled = [entry for entry in ranked if entry[0] < 2]
    return [name for _, _, name in sorted(spelled or ranked)[:3]]


def _words(name):
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", str(name))
    return re.findall(r"[a-z0-9]+", name.lower())
