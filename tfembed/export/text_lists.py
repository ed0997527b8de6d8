r"""Lists of ids and labels as text, one string a row, whatever their length.

A server joins the requests of several callers only where their tensors agree in all but
the rows, so a list whose length is the caller's own may not be a dimension. As text it
is none. A list is written one entry a line; in an entry `\\` stands for a backslash and
`\n` for a line break, and every other byte for itself. So any list has a text, and a
text with another backslash is none.

    boot-17.png             two ids, "boot-17.png" and "C:\boots\4.png"
    C:\\boots\\4.png

An empty line is an empty entry, which means nothing in a list, as no id is empty.
"""

import tensorflow as tf

NO_LINES = (
    "Received: a backslash before something else than a backslash or an n. Write two "
    "backslashes for one."
)
"""What is said of a text that is not a list."""

# As regular expressions and, where `\` has a meaning in them, as replacements.
_BACKSLASH, _TWO, _BREAK, _HELD = r"\\", r"\\\\", r"\\n", r"\\b"


def read_lists(texts):
    """Reads a list for each row.

    Args:
        texts: String `(batch,)`.

    Returns:
        `tf.RaggedTensor` of strings `(batch, any)`, at least one entry a row; and bool
        `(batch,)`: false for a row that is no such text.
    """
    lists = tf.strings.split(texts, "\n")
    plain = tf.reduce_all(_has_none(texts))
    entries, readable = tf.cond(
        plain,
        lambda: (lists.flat_values, tf.fill([tf.shape(texts)[0]], True)),
        lambda: _unescaped(lists),
    )
    return lists.with_flat_values(entries), readable


def write_lines(entries, rows, count):
    """Joins entries to one text a row, a line each.

    Args:
        entries: String `(n,)`, without backslashes and line breaks.
        rows: int64 `(n,)`: the row of each, in ascending order.
        count: Scalar: how many rows there are.

    Returns:
        String `(count,)`.
    """
    return tf.strings.unsorted_segment_join(entries, rows, count, separator="\n")


def _has_none(texts):
    """Whether there is no backslash in a text."""
    without = tf.strings.regex_replace(texts, _BACKSLASH, "")
    return tf.strings.length(without) == tf.strings.length(texts)


def _unescaped(lists):
    """The entries, and which rows can be read."""
    # Pairs come first, from the left: what backslash then remains begins an escape. A
    # line break holds the pair's place, as there is none within a line.
    entries = tf.strings.regex_replace(lists.flat_values, _TWO, "\n")
    good = _has_none(tf.strings.regex_replace(entries, _BREAK, ""))
    entries = tf.strings.regex_replace(entries, "\n", _HELD)
    entries = tf.strings.regex_replace(entries, _BREAK, "\n")
    entries = tf.strings.regex_replace(entries, _HELD, _BACKSLASH)
    bad = tf.math.unsorted_segment_sum(
        tf.cast(~good, tf.int32), lists.value_rowids(), lists.nrows()
    )
    return entries, bad == 0
