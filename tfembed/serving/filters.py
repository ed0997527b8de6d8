"""Which rows of a gallery a search may find: the lists that a request carries."""

NAMES = ("allow_ids", "exclude_ids", "allow_labels", "exclude_labels")


class Filters:
    """The four lists of a filtered search.

    Each is None (no such filter), a list of strings that holds for every query, or a
    list with one entry a query, each of them None or a list of strings.

    Args:
        allow_ids: Rows with other ids are not found.
        exclude_ids: Rows with these ids are not found.
        allow_labels: Rows of other classes are not found.
        exclude_labels: Rows of these classes are not found.

    Raises:
        TypeError: If a list is something else.
        ValueError: If a string is empty, or a list of what is allowed is.
    """

    def __init__(
        self, allow_ids=None, exclude_ids=None, allow_labels=None, exclude_labels=None
    ):
        given = (allow_ids, exclude_ids, allow_labels, exclude_labels)
        self._lists = {name: _read(name, each) for name, each in zip(NAMES, given)}

    def check_size(self, total):
        """Compares lists of one entry a query with the number of queries.

        Raises:
            ValueError: If they are not as many.
        """
        for name, (rows, each) in self._lists.items():
            if each and len(rows) != total:
                raise _not_as_many(name, rows, total)

    def lists(self, start, stop):
        """Returns the lists of a request for the queries from `start` to `stop`.

        Returns:
            Dictionary of name to a list of `stop - start` lists of `str`.

        Raises:
            ValueError: If there are fewer lists than queries.
        """
        found = {}
        for name, (rows, each) in self._lists.items():
            if each and stop > len(rows):
                raise _not_as_many(name, rows, f"at least {stop}")
            found[name] = rows[start:stop] if each else rows * (stop - start)
        return found


def _read(name, given):
    """Returns the list's rows, and whether there is one a query."""
    if given is None:
        return [[]], False
    if isinstance(given, (str, bytes)):
        raise _wrong(name, given)
    try:
        values = list(given)
    except TypeError:
        raise _wrong(name, given) from None
    if all(isinstance(value, str) for value in values):
        return [_checked(name, values)], False
    rows = []
    for row in values:
        if isinstance(row, (str, bytes)):
            raise _wrong(name, given)
        try:
            rows.append([] if row is None else _checked(name, list(row)))
        except TypeError:
            raise _wrong(name, given) from None
    return rows, True


def _checked(name, values):
    values = [value for value in values]
    if not all(isinstance(value, str) for value in values):
        raise _wrong(name, values)
    if not values and name.startswith("allow"):
        raise ValueError(
            f"`{name}` must name something; an empty list would allow nothing, and to "
            "a server it means everything. Received: an empty list. Give None to "
            "allow everything."
        )
    if "" in values:
        raise ValueError(
            f"`{name}` must not have empty strings: requests are padded with them. "
            f"Received: {values!r}."
        )
    return [str(value) for value in values]


def _not_as_many(name, rows, total):
    return ValueError(
        f"`{name}` must be strings for all queries, or one list for each query. "
        f"Received: {len(rows)} lists for {total} queries."
    )


def _wrong(name, given):
    return TypeError(
        f"`{name}` must be a list of strings, or one such list (or None) for each "
        f"query. Received: {name}={given!r}."
    )
