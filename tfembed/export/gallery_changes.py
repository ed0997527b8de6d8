"""Where each row of a new gallery comes from: the old one, or what is added."""

import dataclasses

import numpy as np

_NAMED = 5


@dataclasses.dataclass(frozen=True)
class Changes:
    """A gallery as it becomes.

    Rows that stay keep their order, and a replaced row its place; new rows follow.

    Attributes:
        ids: Strings `(n,)`.
        labels: int64 `(n,)`, -1 where unknown.
        class_names: Strings `(c,)`: those of before, then new ones.
        from_old: int64 `(old rows,)`, the new row of each old one, -1 if it is gone or
            replaced.
        from_added: list of int64 arrays, for each of the additions the new row of each
            of its rows.
        added, replaced, deleted: Numbers of rows.
    """

    ids: np.ndarray
    labels: np.ndarray
    class_names: np.ndarray
    from_old: np.ndarray
    from_added: list
    added: int
    replaced: int
    deleted: int

    @property
    def size(self):
        """Rows of the new gallery."""
        return len(self.ids)

    @property
    def changed(self):
        """Rows that were added, replaced or deleted."""
        return self.added + self.replaced + self.deleted


def plan_changes(
    ids, labels, class_names, additions=(), delete=(), ignore_missing=False
):
    """Works out the new gallery.

    Args:
        ids: Strings `(n,)` of the old gallery.
        labels: int64 `(n,)`.
        class_names: Strings `(c,)`.
        additions: `Additions` to add; a row whose id is there replaces that row.
        delete: Ids of rows to take away.
        ignore_missing: Whether ids to delete may be unknown.

    Returns:
        `Changes`.

    Raises:
        ValueError: If an id to delete is unknown, is also added, or stands in two of
            the additions; if a label has no name; or if no row would be left.
    """
    delete = {str(each) for each in delete}
    place, clashes = {}, set()  # id -> (which of the additions, row of it)
    for number, each in enumerate(additions):
        for row, name in enumerate(each.ids.tolist()):
            if name in place:
                clashes.add(name)
            place[name] = number, row
    if clashes:
        raise ValueError(
            "What is added must hold each id once. "
            f"Received: {_named(clashes)} in two files. Leave it in one."
        )
    both = delete & place.keys()
    if both:
        raise ValueError(
            "An id must not be both deleted and added. "
            f"Received: {_named(both)} in both. To replace a row, add it only."
        )
    names = [str(name) for name in class_names]
    number_of = {name: number for number, name in reversed([*enumerate(names)])}
    numbers = [_label_numbers(each, names, number_of) for each in additions]
    from_added = [np.full(len(each.ids), -1, np.int64) for each in additions]
    from_old = np.full(len(ids), -1, np.int64)
    new_labels = np.empty(len(ids) + len(place), np.int64)
    new_ids, size, replaced, deleted = [], 0, 0, 0
    for row, name in enumerate(ids.tolist()):
        if name in delete:
            delete.discard(name)
            deleted += 1
            continue
        found = place.pop(name, None)
        if found is None:
            from_old[row] = size
            new_labels[size] = labels[row]
        else:
            number, at = found
            from_added[number][at] = size
            new_labels[size] = numbers[number][at]
            replaced += 1
        new_ids.append(name)
        size += 1
    if delete and not ignore_missing:
        raise ValueError(
            "An id to delete must be in the gallery. "
            f"Received: {_named(delete)}, which {'is' if len(delete) == 1 else 'are'} "
            "not. Leave it out, or give --ignore-missing (`ignore_missing=True`)."
        )
    for name, (number, at) in place.items():
        from_added[number][at] = size
        new_labels[size] = numbers[number][at]
        new_ids.append(name)
        size += 1
    if not size:
        raise ValueError(
            "A gallery must keep at least one row. Received: changes that delete all "
            f"{len(ids):,} and add none. Take the model out of service instead."
        )
    return Changes(
        ids=np.array(new_ids, np.str_),
        labels=new_labels[:size],
        class_names=np.array(names, np.str_) if names else np.empty(0, np.str_),
        from_old=from_old,
        from_added=from_added,
        added=len(place),
        replaced=replaced,
        deleted=deleted,
    )


def _label_numbers(additions, names, number_of):
    """The labels of what is added as numbers of the gallery's classes.

    New classes are appended to `names`, and to `number_of`, `{name: number}`.
    """
    labels = additions.labels
    if labels.dtype.kind == "U":
        used, own = list(dict.fromkeys(labels.tolist())), None
    else:
        limit = len(additions.class_names) or len(names)
        wrong = labels[(labels < -1) | (labels >= limit)]
        if len(wrong):
            whose = "its class names" if additions.class_names else "the gallery's"
            raise ValueError(
                f"{additions.name!r}: a label must be a name, -1, or the number of one "
                f"of {whose}, 0 to {limit - 1}. Received: {wrong[0]}. "
                "Give `class_names`, or labels as names."
            )
        if not additions.class_names:
            return labels.astype(np.int64)
        used, own = np.unique(labels).tolist(), [*additions.class_names, ""]
    becomes = {}
    for label in used:
        name = label if own is None else str(own[label])
        if name and name not in number_of:
            number_of[name] = len(names)
            names.append(name)
        becomes[label] = number_of[name] if name else -1
    return np.array([becomes[label] for label in labels.tolist()], np.int64)


def _named(ids):
    some = ", ".join(repr(each) for each in sorted(ids)[:_NAMED])
    more = f" and {len(ids) - _NAMED:,} more" if len(ids) > _NAMED else ""
    return some + more
