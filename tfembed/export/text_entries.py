"""Lists of names as one string each, an entry a line."""

NO_LINES = b"a\nb\\x"
"""What is no list: an escape that is none."""


def as_text(entries):
    """A list as one string, an entry a line."""
    return b"\n".join(
        each.replace(b"\\", b"\\\\").replace(b"\n", b"\\n") for each in entries
    )


def with_further_entries(table):
    """Lists of different lengths that say what the rows of a table say."""
    for number, row in enumerate(table.tolist()):
        entries = [each for each in row if each]
        yield entries + [b"no \\ such\nentry"] * number if entries else entries
