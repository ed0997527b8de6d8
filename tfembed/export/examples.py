"""One query of several examples: like these, unlike those.

    query = unit(mean(unit(positives)) - weight * mean(unit(negatives)))

This is Rocchio's formula (Manning, Raghavan and Schuetze, "Introduction to Information
Retrieval", 2008, equation 9.3), where the query itself, if there is one, is one of the
positive examples; the usual beta of 0.75 and gamma of 0.15 are a weight of 0.2. Twice
the mean of the positives less that of the negatives, Qdrant's strategy
`average_vector`, is a weight of 0.5, the clients' default. An example that is given
twice counts twice.

Examples are rows of the gallery, by id, and embeddings. So that a request has one shape
whatever their number, ids are lines (`tfembed.export.text_lists`) and embeddings bytes:
float32 numbers, little-endian, one example after the other.
"""

import tensorflow as tf

from tfembed.export.id_lookup import find_rows
from tfembed.export.problems import Problems, as_utf8
from tfembed.export.text_lists import NO_LINES, read_lists
from tfembed.export.unit_embeddings import unit_embeddings

MOST = 64
"""The most examples of a question, positive and negative together."""

KINDS = ("positive", "negative")
_NO_LENGTH = 1e-6  # of a mean of vectors of length 1: what rounding may leave of none


def combine_examples(head, variables, queries, examples, weight, problems):
    """Combines the queries and examples of each row of a batch.

    Args:
        head: Module of a head.
        variables: `{name: tf.Variable}` of `tfembed.export.gallery_state`.
        queries: List of `(rows, given)`: embeddings float32 `(batch, dim)`, zero where
            there is none, and bool `(batch,)`, where there is one. Each is a positive
            example.
        examples: `positive_ids` and `negative_ids`, string `(batch,)`, as lines;
            `positive_embeddings` and `negative_embeddings`, string `(batch,)`, as
            bytes.
        weight: `(batch,)`, float32: that of the negative examples.
        problems: `Problems`, to which those of the examples are added.

    Returns:
        Queries float32 `(batch, dim)`, zero where there is a problem, as it was given
        where it is a row's only example; and the rows of the gallery that are examples,
        int32 `(batch, MOST)`, negative for none.
    """
    batch, dim = tf.shape(weight)[0], queries[0][0].shape[1]
    # All positives first, then all negatives: what is said of one holds for the other.
    ids, texts = (
        tf.concat([examples[f"{kind}_{what}"] for kind in KINDS], axis=0)
        for what in ("ids", "embeddings")
    )
    kind = tf.repeat(list(KINDS), batch)
    both = Problems(tf.tile(problems.texts, [2]))
    lists, readable = read_lists(ids)
    both.add(~readable, "`", kind, f"_ids` must be lines. {NO_LINES}")
    names, of = _those(lists.flat_values != "", lists.flat_values, lists.value_rowids())
    size = tf.strings.length(texts)
    both.add(
        size % (4 * dim) != 0,
        "`",
        kind,
        f"_embeddings` must be bytes: float32 numbers, {dim} for each example. "
        "Received: ",
        size,
        " bytes.",
    )
    counts = _count(of, 2 * batch) + size // (4 * dim)
    number = tf.tile(tf.reduce_sum(tf.reshape(counts, [2, batch]), axis=0), [2])
    both.add(
        number > MOST,
        f"A question must have at most {MOST} examples, positive and negative "
        "together. Received: ",
        number,
        ".",
    )
    # Now that there are not too many, they are read.
    names, of = _those(tf.gather(both.none, of), names, of)
    rows = find_rows(variables, names)
    _name_unknown(kind, names, rows, of, both)
    rows, of = _those(rows >= 0, rows, of)
    vectors, _ = unit_embeddings(head.embeddings_of(variables, rows))
    sums = tf.math.unsorted_segment_sum(vectors, of, 2 * batch)
    sums += _sums_of_bytes(kind, texts, dim, both)
    problems.texts = tf.where(both.none[:batch], both.texts[batch:], both.texts[:batch])
    positives, query, total = counts[:batch], tf.zeros([batch, dim]), sums[:batch]
    for given, there in queries:
        query = tf.where(there[:, None], given, query)
        total += unit_embeddings(given)[0]
        positives += tf.cast(there, tf.int32)
    problems.add(
        positives < 1,
        "A question must have an image, an embedding or a positive example. "
        "Received: none.",
    )
    combined = _mean(total, positives)
    combined -= weight[:, None] * _mean(sums[batch:], counts[batch:])
    alone = (positives == 1) & (number[:batch] == 0)
    problems.add(
        ~alone & (tf.norm(combined, axis=1) <= _NO_LENGTH),
        "The examples must leave a direction. Received: some that cancel each other "
        "out.",
    )
    query = tf.where(alone[:, None], query, unit_embeddings(combined)[0])
    rows = tf.RaggedTensor.from_value_rowids(rows, of, 2 * tf.cast(batch, of.dtype))
    rows = rows.to_tensor(-1, shape=[None, MOST])
    # Of both there are at most as many, in any order.
    rows = tf.concat([rows[:batch], rows[batch:]], axis=1)
    return tf.where(problems.none[:, None], query, 0.0), tf.math.top_k(rows, MOST)[0]


def _those(wanted, *tensors):
    places = tf.where(wanted)[:, 0]
    return [tf.gather(each, places) for each in tensors]


def _count(of, rows):
    return tf.math.unsorted_segment_sum(tf.ones_like(of, tf.int32), of, rows)


def _name_unknown(kind, names, rows, of, problems):
    """Names the first id of each row that the gallery does not have."""
    places = tf.where(rows < 0, tf.range(tf.size(rows)), tf.int32.max)
    first = tf.math.unsorted_segment_min(places, of, tf.size(kind))
    unknown = first < tf.size(rows)
    names = tf.gather(tf.concat([names, [""]], axis=0), tf.where(unknown, first, 0))
    problems.add(
        unknown,
        "`",
        kind,
        "_ids` must be ids of the gallery. Received: '",
        as_utf8(names),
        "', which it does not have.",
    )


def _sums_of_bytes(kind, texts, dim, problems):
    """The sum of each row's embeddings, divided by their lengths."""
    texts = tf.where(problems.none, texts, "")
    of = tf.repeat(tf.range(tf.size(texts)), tf.strings.length(texts) // (4 * dim))
    numbers = tf.io.decode_raw(tf.strings.reduce_join(texts), tf.float32)
    vectors, valid = unit_embeddings(tf.reshape(numbers, [-1, dim]))
    problems.add(
        _count(_those(~valid, of)[0], tf.size(texts)) > 0,
        "`",
        kind,
        "_embeddings` must be finite, and of a length above 0. Received: one that is "
        "not.",
    )
    return tf.math.unsorted_segment_sum(vectors, of, tf.size(texts))


def _mean(sums, counts):
    return tf.math.divide_no_nan(sums, tf.cast(counts, tf.float32)[:, None])
