"""Small pictures for reports, as SVG in a data URI: the one form that every place of Prefect's UI shows."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from html import escape

from tasks.words import number

_WIDTH = 760
_FONT = "font-family='ui-sans-serif, system-ui, sans-serif' font-size='12'"
# Readable on white and on black alike.
_TEXT, _FAINT, _BLUE, _AMBER = "#7c8694", "#7c869440", "#3b82f6", "#f59e0b"
# On a paper of its own: what shines through would have to be readable on white and on black as well.
_PAPER, _INK = "#f1f5f9", "#1e293b"

MOST_BARS = 24
MOST_HEAT_ROWS = 40


def bars(title: str, rows: Sequence[tuple[str, float, float, str]]) -> str:
    """Draw a bar for each row, the longest ones if there are too many.

    Args:
        title: what the picture shows, for those who can't see it.
        rows: name, length, the part of it to mark, and what to write behind the bar.

    Returns:
        Markdown.
    """
    shown = sorted(rows, key=lambda row: -row[1])[:MOST_BARS] if len(rows) > MOST_BARS else list(rows)
    left, right, height = 12 + 7 * max((len(row[0]) for row in shown), default=0), 190, 24
    left = min(left, 320)
    most = max((row[1] for row in shown), default=0) or 1
    parts = []
    for line, (name, length, marked, words) in enumerate(shown):
        y = line * height
        long = (_WIDTH - left - right) * length / most
        short = (_WIDTH - left - right) * marked / most
        parts.append(
            f"<text x='{left - 8}' y='{y + 16}' text-anchor='end' fill='{_TEXT}' {_FONT}>{escape(name)}</text>"
            f"<rect x='{left}' y='{y + 4}' width='{max(long, 1):.1f}' height='16' rx='3' fill='{_BLUE}'/>"
            + (f"<rect x='{left}' y='{y + 4}' width='{max(short, 2):.1f}' height='16' rx='3' fill='{_AMBER}'/>"
               if marked else "")
            + f"<text x='{left + long + 8:.1f}' y='{y + 16}' fill='{_TEXT}' {_FONT}>{escape(words)}</text>"
        )  # fmt: skip
    more = len(rows) - len(shown)
    note = f"\n\nThe {len(shown)} largest; {more} more are not drawn." if more else ""
    return _markdown(title, "".join(parts), len(shown) * height + 4) + note


def curve(title: str, points: Sequence[tuple[float, float]], unit: str, say: Callable[[float], str] = number) -> str:
    """Draw how something went over time.

    Args:
        title: what the picture shows.
        points: seconds → value.
        unit: of the values.
        say: writes a value.

    Returns:
        Markdown; empty if there are fewer than three points.
    """
    if len(points) < 3:
        return ""
    height, top, left = 120, 18, 8
    end, most = points[-1][0] or 1, max(value for _, value in points) or 1
    x = [left + (_WIDTH - 2 * left) * at / end for at, _ in points]
    y = [top + height * (1 - value / most) for _, value in points]
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    floor = top + height
    body = (
        f"<polygon points='{x[0]:.1f},{floor} {line} {x[-1]:.1f},{floor}' fill='{_BLUE}' fill-opacity='0.18'/>"
        f"<polyline points='{line}' fill='none' stroke='{_BLUE}' stroke-width='2' stroke-linejoin='round'/>"
        f"<line x1='{left}' y1='{floor}' x2='{_WIDTH - left}' y2='{floor}' stroke='{_FAINT}'/>"
        f"<text x='{left}' y='12' fill='{_TEXT}' {_FONT}>{escape(f'{say(most)} {unit}')}</text>"
        f"<text x='{left}' y='{floor + 16}' fill='{_TEXT}' {_FONT}>0 s</text>"
        f"<text x='{_WIDTH - left}' y='{floor + 16}' text-anchor='end' fill='{_TEXT}' {_FONT}>{end:,.0f} s</text>"
    )
    return _markdown(title, body, floor + 24)


def heat(title: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[tuple[float, str]]]]) -> str:
    """Draw a heat map: what is over its target in amber, what is under it in blue, the stronger the further off.

    Args:
        title: what the picture shows.
        columns: their names.
        rows: name, and for each column the distance from the target as a fraction of it (0.5: half as much again; more
            than 1 is drawn as 1), and what to write in the cell.

    Returns:
        Markdown; of too many rows, those that are furthest off.
    """
    shown = rows
    if len(rows) > MOST_HEAT_ROWS:
        off = sorted(range(len(rows)), key=lambda at: -max(abs(cell[0]) for cell in rows[at][1]))
        shown = [rows[at] for at in sorted(off[:MOST_HEAT_ROWS])]
    left, top, height = min(220, 16 + 7 * max((len(name) for name, _ in shown), default=0)), 20, 24
    width = (_WIDTH - left) / max(1, len(columns))
    parts = [
        f"<text x='{left + (at + 0.5) * width:.1f}' y='13' text-anchor='middle' fill='{_TEXT}' {_FONT}>"
        f"{escape(name)}</text>"
        for at, name in enumerate(columns)
    ]
    for line, (name, cells) in enumerate(shown):
        y = top + line * height
        parts.append(
            f"<text x='{left - 8}' y='{y + 16}' text-anchor='end' fill='{_TEXT}' {_FONT}>{escape(name)}</text>"
        )
        for at, (off_by, words) in enumerate(cells):
            colour, strength = _AMBER if off_by > 0 else _BLUE, min(1.0, abs(off_by))
            x = left + at * width
            parts.append(
                f"<rect x='{x + 1:.1f}' y='{y + 1}' width='{width - 2:.1f}' height='{height - 2}' rx='3' "
                f"fill='{_mixed(colour, 0.8 * strength)}'/>"
                f"<text x='{x + width / 2:.1f}' y='{y + 16}' text-anchor='middle' fill='{_INK}' {_FONT}>"
                f"{escape(words)}</text>"
            )
    more = len(rows) - len(shown)
    note = f"\n\nThe {len(shown)} furthest off; {more} more are not drawn." if more else ""
    return _markdown(title, "".join(parts), top + len(shown) * height + 4) + note


def _mixed(colour: str, strength: float) -> str:
    """Give a colour, so much of it, on paper."""
    both = zip(bytes.fromhex(colour[1:]), bytes.fromhex(_PAPER[1:]), strict=True)
    return "#" + bytes(round(paper + strength * (pure - paper)) for pure, paper in both).hex()


def _markdown(title: str, body: str, height: int) -> str:
    svg = (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{height}' "
        f"viewBox='0 0 {_WIDTH} {height}' role='img'><title>{escape(title)}</title>{body}</svg>"
    )
    return f"![{title}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"
