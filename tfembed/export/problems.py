"""What is wrong with each row of a request, in words.

A row that cannot be answered must not fail the others of its batch, which may be other
callers' (a server joins them). So it is not an error but an output: a sentence, empty
where there is nothing wrong.
"""

import tensorflow as tf


class Problems:
    """The first problem of each row of a batch.

    Args:
        texts: String `(rows,)`: those that are known, empty where there is none.

    Attributes:
        texts: The same, with those that were added; UTF-8.
    """

    def __init__(self, texts):
        self.texts = texts

    @property
    def none(self):
        """Bool `(rows,)`: which rows have no problem so far."""
        return self.texts == ""

    def add(self, found, *words):
        """Adds a problem where there is none yet.

        Args:
            found: bool `(rows,)`.
            *words: Texts, or tensors `(rows,)` of strings or numbers, of which the
                sentence is made.
        """
        words = [_as_text(each) for each in words]
        self.texts = tf.where(found & self.none, tf.strings.join(words), self.texts)


def as_utf8(received, longest=100):
    """Returns strings that were received as they can be told: over REST too.

    Args:
        received: String tensor, of any bytes.
        longest: Characters that are left of it.
    """
    text = tf.strings.unicode_transcode(received, "UTF-8", "UTF-8")
    return tf.strings.substr(text, 0, longest, unit="UTF8_CHAR")


def _as_text(word):
    if isinstance(word, str) or word.dtype == tf.string:
        return word
    return tf.strings.as_string(word, shortest=word.dtype.is_floating)
