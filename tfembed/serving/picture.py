"""Draws queries beside their nearest neighbours."""

import os
import re

from tfembed.formats.disk import written_beside

_RIGHT, _WRONG, _PLAIN, _QUERY = "#1a7f4b", "#c2342b", "#b8bec6", "#24292f"
_FAINT, _EMPTY = "#6a737d", "#f0f2f4"
_WIDTH = 900  # pixels, the width of a README's page
_DENSITY = 2  # drawn twice as fine, so that it is sharp on any screen
_MARGIN, _GAP, _QUERY_GAP = 14, 8, 22
_CAPTION = 32  # below a picture: two lines
_QUERY_CAPTION = 120
_HEADER = 26
_DPI = 100
_MOST_QUERIES = 200  # a taller picture than that cannot be drawn


def same_label(one, other):
    """Whether two labels are one, but for case and punctuation.

    File names cannot hold every label: `T-shirt_top` is `T-shirt/top`.
    """
    return _letters(one) == _letters(other)


def draw_neighbors(path, queries, result, thumbnails=None, truth=None, names=None):
    """Writes a PNG with one row a query, its neighbours beside it, nearest first.

    Below each neighbour stand its label and its score. Where the true label of a
    query is known, a neighbour's frame and mark tell whether its label is right.

    >>> import os, tempfile
    >>> from tfembed.serving import SearchResult, draw_neighbors
    >>> result = SearchResult(
    ...     ids=np.array([["a.png", "b.png"]]),
    ...     labels=np.array([["cat", "dog"]]),
    ...     scores=np.array([[0.9, 0.4]], "float32"),
    ...     vote=np.array(["cat"]),
    ...     vote_probability=np.array([0.9], "float32"),
    ...     known=np.array([True]),
    ...     valid=np.array([True]),
    ... )
    >>> query = np.zeros((32, 32, 3), "uint8")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "neighbors.png")
    ...     draw_neighbors(path, [query], result, truth=["cat"])
    ...     os.path.getsize(path) > 0
    True

    Args:
        path: Where to write.
        queries: List of arrays uint8 `(height, width, 1 or 3)`; None draws an empty
            frame.
        result: The `SearchResult` of the queries.
        thumbnails: Function of an id that returns the picture, or None; see
            `open_thumbnails`.
        truth: List of the queries' true labels, with None or `""` where unknown.
        names: List of the queries' names, written where there is no true label.

    Raises:
        ValueError: If the lists are not as long as the result, or nothing is given.
    """
    size = len(result)
    truth = [None] * size if truth is None else truth
    names = [""] * size if names is None else names
    for argument, values in (
        ("queries", queries),
        ("truth", truth),
        ("names", names),
    ):
        if not size or len(values) != size:
            raise ValueError(
                f"`{argument}` must have one entry for each of the result's rows, "
                f"at least one. Received: {len(values)} entries for {size} rows."
            )
    if size > _MOST_QUERIES:
        raise ValueError(
            f"One picture holds at most {_MOST_QUERIES} queries. Received: {size}. "
            "Draw them in several pictures."
        )
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            f"The picture needs a package that is missing ({error}). Install it with "
            "`pip install matplotlib`."
        ) from error

    page = _Page(result.scores.shape[1], size)
    figure = Figure(figsize=(_WIDTH / _DPI, page.height / _DPI), dpi=_DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_autoscale_on(False)
    axes.set_xlim(0, _WIDTH)
    axes.set_ylim(page.height, 0)
    page.draw_header(axes)
    for row in range(size):
        page.draw_query(axes, row, queries[row], result, truth[row], names[row])
        if result.valid[row]:
            page.draw_row(axes, row, result, thumbnails, truth[row])
    _save(figure, path)


class _Page:
    """Where things stand, in pixels from the upper left corner."""

    def __init__(self, columns, rows):
        self.columns = columns
        room = _WIDTH - 2 * _MARGIN - _QUERY_GAP - _QUERY_CAPTION
        self.cell = min(118.0, (room - columns * _GAP) / (columns + 1))
        self.pitch = self.cell + _CAPTION + 10
        self.height = 2 * _MARGIN + _HEADER + rows * self.pitch - 8

    def x(self, column):
        """Left edge of a neighbour's picture."""
        start = _MARGIN + self.cell + _QUERY_CAPTION + _QUERY_GAP
        return start + column * (self.cell + _GAP)

    def y(self, row):
        """Upper edge of a row's pictures."""
        return _MARGIN + _HEADER + row * self.pitch

    def draw_header(self, axes):
        y = _MARGIN + 8
        self._text(axes, _MARGIN, y, "Query", 10, _QUERY, weight="bold")
        noun = "Nearest neighbour" if self.columns == 1 else "Nearest neighbours"
        self._text(axes, self.x(0), y, noun, 10, _QUERY, weight="bold")
        right = self.x(self.columns) - _GAP
        if right - self.x(0) > 280:
            note = "label and cosine similarity"
            self._text(axes, right, y, note, 8, _FAINT, align="right")

    def draw_query(self, axes, row, image, result, truth, name):
        y = self.y(row)
        self._picture(axes, _MARGIN, y, image, _QUERY, 1.6)
        left = _MARGIN + self.cell + 10
        width = _QUERY_CAPTION - 10
        if truth or name:
            head = "true label" if truth else "file"
            self._text(axes, left, y + 8, head, 7.5, _FAINT)
        title = truth or name
        self._text(axes, left, y + 22, title, 9.5, _QUERY, width=width, weight="bold")
        if not result.valid[row]:
            self._text(axes, left, y + 42, "could not be read", 9, _WRONG)
            return
        vote, color, mark = str(result.vote[row]), _QUERY, ""
        if vote and truth:
            right = same_label(vote, truth)
            color = _RIGHT if right else _WRONG
            mark = "\u2713 " if right else "\u2717 "
        if vote:
            share = f"vote, {100 * result.vote_probability[row]:.0f} %"
            self._text(axes, left, y + 42, share, 7.5, _FAINT)
            self._text(axes, left, y + 56, mark + vote, 9.5, color, width=width)
        if not result.known[row]:
            self._text(axes, left, y + 73, "like no known class", 7.5, _WRONG)

    def draw_row(self, axes, row, result, thumbnails, truth):
        for column in range(self.columns):
            name = str(result.ids[row, column])
            label = str(result.labels[row, column])
            color, mark, ink = _PLAIN, "", _QUERY
            if truth and label:
                right = same_label(label, truth)
                color = ink = _RIGHT if right else _WRONG
                mark = "\u2713 " if right else "\u2717 "
            x, y = self.x(column), self.y(row)
            image = thumbnails(name) if thumbnails else None
            self._picture(axes, x, y, image, color, 1.6)
            if image is None:
                self._text(
                    axes,
                    x + self.cell / 2,
                    y + self.cell / 2,
                    name.rpartition("/")[2] or name,
                    7,
                    _FAINT,
                    width=self.cell - 8,
                    align="center",
                )
            middle = x + self.cell / 2
            below = y + self.cell + 11
            if label:
                self._text(
                    axes,
                    middle,
                    below,
                    label,
                    8,
                    ink,
                    width=self.cell + _GAP - 6,
                    align="center",
                )
                below += 14
            score = f"{mark}{result.scores[row, column]:.2f}"
            ink = ink if mark else _FAINT
            self._text(axes, middle, below, score, 7.5, ink, align="center")

    def _picture(self, axes, x, y, image, color, line):
        """Draws a picture, or an empty field, in a square frame."""
        from matplotlib.patches import Rectangle

        frame = {"edgecolor": color, "linewidth": line, "zorder": 3}
        field = (x, y), self.cell, self.cell
        axes.add_patch(Rectangle(*field, facecolor=_EMPTY))
        axes.add_patch(Rectangle(*field, facecolor="none", **frame))
        if image is None:
            return
        scale = self.cell / max(image.shape[:2])
        height, width = (scale * size for size in image.shape[:2])
        left, top = x + (self.cell - width) / 2, y + (self.cell - height) / 2
        axes.imshow(
            image[..., 0] if image.shape[-1] == 1 else image,
            cmap="gray",
            vmin=0,
            vmax=255,
            extent=(left, left + width, top + height, top),
            aspect="auto",
            interpolation="nearest" if scale > 1 else "antialiased",
            zorder=2,
        )

    def _text(self, axes, x, y, text, points, color, width=None, align="left", **style):
        """Writes one line, made narrower or cut if it is wider than `width`."""
        written = axes.text(
            x,
            y,
            text,
            fontsize=points,
            color=color,
            ha=align,
            va="center",
            parse_math=False,
            **style,
        )
        if width is None:
            return
        renderer = axes.figure.canvas.get_renderer()
        extent = written.get_window_extent(renderer).width
        if extent > width:
            smaller = max(points * width / extent, 6.5)
            written.set_fontsize(smaller)
        while written.get_window_extent(renderer).width > width and len(text) > 2:
            text = text[:-1]
            written.set_text(text.rstrip() + "\u2026")


def _save(figure, path):
    """Writes beside the place and renames, so that none reads half a picture."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with written_beside(path, shared=True) as beside:
        figure.savefig(beside, dpi=_DPI * _DENSITY, format="png", facecolor="white")


def _letters(label):
    return re.sub(r"[\W_]+", "", str(label)).casefold()
