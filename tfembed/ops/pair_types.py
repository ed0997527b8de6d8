"""What pair losses are given, and what they see: anchors against references."""

import functools

from tfembed.ops import distances
from tfembed.ops.floats import widen


class Similarities:
    """Cosine similarities in place of embeddings, for what depends on them alone.

    A pair loss takes it as its `embeddings`: how the loss weighs a pair is then its
    gradient with respect to `values`.

    Args:
        values: `(batch, batch)`, float; row i is anchor i against every row. With
            references, `(batch, refs)`. On several replicas with references alone.
        of: `(batch, dim)`: the embeddings that they are of, for what draws by them.
    """

    def __init__(self, values, of=None):
        self.values = widen(values)
        self.of = None if of is None else widen(of)


class References:
    """References that are not all there, or that the anchors are among.

    A pair loss takes it as its `ref_embeddings`: a slot that is empty then makes no
    pair, and neither does an anchor with itself.

    Args:
        embeddings: `(refs, dim)`, float.
        present: `(refs,)`, bool: False for what is to count as not there. `None`: all
            are.
        own: `(batch,)`, int32: which reference is the anchor itself; -1 for none.
            `None`: none is.
    """

    def __init__(self, embeddings, present=None, own=None):
        self.embeddings = embeddings
        self.present = present
        self.own = own


class Pairs:
    """Anchors (rows) against references (columns).

    Attributes:
        anchors: `(rows, dim)`, float32 or float64; unit rows where the loss asked for
            them. `None` where only similarities were given.
        refs: `(refs, dim)`, or `None`, likewise.
        positive: `(rows, refs)`, bool: equal labels, but not the row itself.
        negative: `(rows, refs)`, bool: other labels.
        itself: `(rows, refs)`, bool: the reference is the anchor itself.
        complete: Whether every pair is positive or negative: nothing is left out.
        row_inputs: List of `(rows, ...)` tensors, what the loss passed along.
        ref_inputs: List of `(refs, ...)` tensors, likewise.
        row_keys: `(rows,)`, float64: hashes of the embeddings as they were given, see
            `ops.draws`; `None` where neither the loss nor its miner draws.
        ref_keys: `(refs,)`, likewise.
        dim: Number of the embeddings' dimensions; `None` where it is not known.
    """

    def __init__(
        self,
        anchors,
        refs,
        positive,
        negative,
        itself,
        row_inputs=(),
        ref_inputs=(),
        similarity=None,
    ):
        self.anchors = anchors
        self.refs = refs
        self.positive = positive
        self.negative = negative
        self.itself = itself
        self.complete = True
        self.row_inputs = list(row_inputs)
        self.ref_inputs = list(ref_inputs)
        self.row_keys = self.ref_keys = None
        self.dim = None if anchors is None else anchors.shape[1]
        self._similarity = similarity

    def keep(self, positive, negative):
        """Leaves out every pair that is in neither of two masks."""
        self.positive &= positive
        self.negative &= negative
        self.complete = False

    @functools.cached_property
    def similarity(self):
        """Inner products `(rows, refs)`: cosines where the rows have unit length."""
        if self._similarity is not None:
            return self._similarity
        return distances.inner_products(self.anchors, self.refs)

    @functools.cached_property
    def squared_distance(self):
        """Squared Euclidean distances, `(rows, refs)`."""
        if self._similarity is not None:
            return distances.from_similarities(self._similarity)
        return distances.squared_distances(self.anchors, self.refs)

    @functools.cached_property
    def distance(self):
        """Euclidean distances, `(rows, refs)`."""
        return distances.safe_sqrt(self.squared_distance)
