"""`tfembed.evaluate` as type checkers see it: by docs/write_stubs.py."""

from tfembed.evaluate.measured import evaluate as evaluate
from tfembed.evaluate.subject import Rows as Rows
from tfembed.evaluate.subject import Subject as Subject
from tfembed.evaluate.subject import find_subject as find_subject

__all__ = [
    "Rows",
    "Subject",
    "evaluate",
    "find_subject",
]
