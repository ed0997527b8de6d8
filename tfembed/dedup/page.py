"""A page on which each group's pictures stand side by side.

It is one HTML file with small pictures beside it, and asks for nothing from elsewhere.
Names are what others wrote: they are escaped, and isolated from the direction of the
text around them.
"""

import html
import os
import pathlib

from tfembed.dedup.thumbnails import Thumbnails
from tfembed.formats.disk import written_beside

__all__ = ["GROUPS", "PAGE", "write_page"]

PAGE = "index.html"
GROUPS = 500
_MEMBERS = 12
_INSIDE = pathlib.Path(__file__).parent / "page"
_KILO = 1000


def write_page(output, found, members, rows, pictures, facts, most=GROUPS, say=None):
    """Writes the page and its small pictures.

    Args:
        output: The folder.
        found: `Duplicates`.
        members: `Members`.
        rows: `Rows`.
        pictures: What `tfembed.dedup.pictures` has.
        facts: Dictionary of what stands at the top: `source`, `encoder`, `table` (of
            thresholds), `histogram`.
        most: Groups on the page; of more, those that are least certain.
        say: Function that is given a line of progress.

    Returns:
        Path of the page.
    """
    from tfembed.version import __version__

    shown = range(max(0, len(members) - most), len(members))
    thumbnails = Thumbnails(output, rows, pictures)
    groups = [
        _group(number, members, rows, pictures, thumbnails, found.threshold.value)
        for number in shown
    ]
    parts = {
        "title": f"Near duplicates in {facts['source']}",
        "version": __version__,
        "style": _read("page.css"),
        "script": _read("page.js"),
        "facts": _facts(found, members, rows, facts),
        "note": _note(found, members, shown),
        "histogram": _histogram(facts["histogram"], found.threshold.value),
        "table": _table(facts["table"], found.threshold.value),
        "groups": "\n".join(groups) or "<p>There are none.</p>",
        "controls": "" if groups else "hidden",
    }
    text = _read("page.html")
    for name in ("title", "version"):
        parts[name] = _escape(parts[name])
    # One pass: what was put in is not looked at again.
    pieces = text.split("{{")
    text = pieces[0] + "".join(
        parts[name.strip()] + rest
        for name, _, rest in (piece.partition("}}") for piece in pieces[1:])
    )
    path = os.path.join(output, PAGE)
    with written_beside(path) as partial:
        with open(partial, "w", encoding="utf-8") as file:
            file.write(text)
    return path


def readable_bytes(count):
    """Says a number of bytes: `"812 B"`, `"48 kB"`, `"1.3 MB"`."""
    if count < _KILO:
        return f"{count}\u00a0B"
    for unit in ("kB", "MB", "GB"):
        count /= _KILO
        if count < 9.95:
            return f"{count:.1f}\u00a0{unit}"
        if count < 999.5 or unit == "GB":
            return f"{count:,.0f}\u00a0{unit}"
    return None


def _read(name):
    return (_INSIDE / name).read_text(encoding="utf-8")


def _escape(text):
    return html.escape(str(text), quote=True)


def _name(text):
    """A name as text of its own direction, whatever it holds."""
    return f"<bdi>{_escape(text)}</bdi>"


def _score(value):
    """Formats a cosine; one that is below 1 is never shown as 1."""
    return f"{min(value, 0.9999) if value < 1 else value:.4f}"


def _group(number, members, rows, pictures, thumbnails, threshold):
    part = members.group(number)
    count = part.stop - part.start
    stop = min(part.stop, part.start + _MEMBERS)
    names = rows.ids(members.rows[part.start : stop])
    tiles = [
        _tile(at, name, at == part.start, members, pictures, thumbnails, threshold)
        for at, name in zip(range(part.start, stop), names)
    ]
    certainty = members.certainty(number)
    more = ""
    if stop < part.stop:
        more = f'<p class="quiet">and {part.stop - stop:,} more, in duplicates.csv</p>'
    chain = ""
    if certainty < threshold:
        chain = '<p class="quiet">A chain: not all are near the kept one.</p>'
    return (
        f'<article class="group" id="group-{number + 1}" tabindex="-1" '
        f'aria-labelledby="name-{number + 1}" data-certainty="{certainty:.6f}">\n'
        f'<h3 id="name-{number + 1}">Group {number + 1} '
        f'<span class="quiet">{count:,} pictures, down to '
        f"{_score(certainty)}</span></h3>\n{chain}"
        f'<ul class="tiles">\n{"".join(tiles)}</ul>\n{more}</article>'
    )


def _tile(at, name, kept, members, pictures, thumbnails, threshold):
    thumbnail = thumbnails.write(members.rows[at])
    score = float(members.scores[at])
    said = "kept" if kept else f"cosine {_score(score)} to the kept one"
    if thumbnail is None:
        picture = '<span class="nopicture">no picture</span>'
    else:
        address, width, height = thumbnail
        picture = (
            f'<img src="{_escape(address)}" width="{width}" height="{height}" '
            f'loading="lazy" alt="{_escape(name)}: {said}">'
        )
    link = pictures.address(name)
    if link is not None:
        picture = f'<a href="{_escape(link)}">{picture}</a>'
    facts = []
    if members.widths[at] > 0:
        facts.append(f"{members.widths[at]:,}\u00a0×\u00a0{members.heights[at]:,}")
    if members.bytes[at] >= 0:
        facts.append(readable_bytes(int(members.bytes[at])))
    badge = '<span class="badge">kept</span>'
    if not kept:
        far = " far" if score < threshold else ""
        badge = f'<span class="score{far}">{_score(score)}</span>'
    return (
        f'<li class="tile{" kept" if kept else ""}">{picture}\n'
        f'<p class="line">{badge} <span class="quiet">{", ".join(facts)}</span></p>\n'
        f'<p class="name" title="{_escape(name)}">{_name(name)}</p></li>\n'
    )


def _facts(found, members, rows, facts):
    others = int(members.others.sum())
    freed = int(members.bytes[members.others].clip(min=0).sum())
    lines = [
        ("Source", _name(facts["source"])),
        ("Encoder", _name(facts["encoder"]) if facts["encoder"] else "not known"),
        ("Pictures", f"{rows.size:,}"),
        (
            "Groups",
            f"{len(members):,}, of {len(members.rows):,} pictures; without "
            f"{others:,} of them one of each is left",
        ),
        (
            "Threshold",
            f"{found.threshold.value:.4f}: {_escape(found.threshold.reason)}",
        ),
    ]
    if freed:
        lines.insert(4, ("Would be freed", readable_bytes(freed)))
    return "\n".join(
        f'<tr><th scope="row">{name}</th><td>{value}</td></tr>' for name, value in lines
    )


def _note(found, members, shown):
    notes = []
    if found.threshold.source == "default":
        notes.append(
            "No threshold was plain from the scores: look at the last groups before "
            "anything is removed."
        )
    if len(shown) < len(members):
        notes.append(
            f"Shown are the {len(shown):,} least certain of {len(members):,} groups; "
            "duplicates.csv has all."
        )
    lines = "".join(f"<p>{note}</p>" for note in notes)
    return f'<div class="note" role="note">{lines}</div>' if notes else ""


def _table(table, threshold):
    lines = "".join(
        f"<tr{_mark(value, threshold)}><td>{value:.3f}</td><td>{groups:,}</td>"
        f"<td>{others:,}</td></tr>"
        for value, groups, others in table
    )
    return lines


def _mark(value, threshold):
    return ' class="chosen"' if abs(value - threshold) < 5e-5 else ""


def _histogram(counts, threshold):
    """Bars of the roots of the counts, a degree each, nearest first, as SVG."""
    import numpy as np

    last = int(np.flatnonzero(counts)[-1]) + 1 if np.any(counts) else 1
    cut = float(np.degrees(np.arccos(min(threshold, 1.0))))
    last = min(90, max(last, int(cut) + 3, 10))
    heights = np.sqrt(counts[:last])
    wide, high, top = 640, 215, 24
    step = wide / last
    heights = heights * (high / max(heights.max(), 1))
    bars = "".join(
        f'<rect x="{number * step + 0.5:.1f}" y="{top + high - height:.1f}" '
        f'width="{step - 1:.1f}" height="{height:.1f}"'
        f"{' class=near' if number + 0.5 < cut else ''}>"
        f"<title>{_span(number)}: {counts[number]:,}</title></rect>"
        for number, height in enumerate(heights)
        if counts[number]
    )
    ticks = "".join(
        f'<text x="{np.degrees(np.arccos(value)) * step:.1f}" y="{top + high + 18}" '
        f'text-anchor="{"start" if value == 1 else "middle"}">{value:g}</text>'
        for value in _ticks(last)
    )
    at = cut * step
    near = int(np.sum(counts[: int(cut)]))
    label = (
        f"Histogram of each picture's cosine to its nearest other picture: about "
        f"{near:,} are above the threshold {threshold:.3f}, "
        f"{int(np.sum(counts)) - near:,} below"
    )
    side = "start" if at < wide * 0.7 else "end"
    return (
        f'<svg viewBox="0 0 {wide} {high + top + 26}" role="img" aria-label="{label}">'
        f"{bars}<line x1=0 x2={wide} y1={top + high} y2={top + high} />"
        f'<line class="cut" x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{top + high}" />'
        f'<text x="{at + (6 if side == "start" else -6):.1f}" y="17" '
        f'text-anchor="{side}">threshold {threshold:.3f}</text>{ticks}</svg>'
    )


def _ticks(last):
    import numpy as np

    values = (1, 0.99, 0.97, 0.94, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.2, 0)
    chosen, before = [], -1e9
    for value in values:
        at = np.degrees(np.arccos(value))
        if at <= last and at - before >= last / 14:
            chosen.append(value)
            before = at
    return chosen


def _span(number):
    import numpy as np

    high, low = np.cos(np.radians([number, number + 1]))
    return f"{high:.4f} to {low:.4f}"
