"""The one style of the drawings: colours by meaning, and how they become SVG.

Figures are drawn once, with a stand-in colour for each meaning. `inline` turns the stand-ins into
CSS variables, which the page sets for light and dark; `standalone` turns them into fixed colours
on white, for places that show an SVG by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from markupsafe import Markup

# Meaning: the colour on white. `templates/report.css` holds the same names with both themes.
COLOURS: Mapping[str, str] = {
    "ink": "#1c211f",
    "muted": "#5a6561",
    "rule": "#d5dad7",
    "paper": "#ffffff",
    "challenger": "#17694a",
    "champion": "#3a5f9e",
    "baseline": "#7b8581",
    "bad": "#a8322a",
    "series-1": "#2c5f8a",
    "series-2": "#c96f1e",
    "series-3": "#8a5a9e",
    "series-4": "#3f8f7c",
    "series-5": "#9a8420",
    "series-6": "#a94d63",
}
STAND_INS: Mapping[str, str] = {name: f"#fe10{n:02x}" for n, name in enumerate(COLOURS)}
FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
SERIES = tuple(STAND_INS[name] for name in COLOURS if name.startswith("series-"))
INK, MUTED, RULE, PAPER = (STAND_INS[name] for name in ("ink", "muted", "rule", "paper"))
CHALLENGER, CHAMPION, BASELINE = (
    STAND_INS[name] for name in ("challenger", "champion", "baseline")
)

# For `matplotlib.rc_context`: one unit of the drawing is one pixel of the page.
PIXELS_PER_INCH = 72
SETTINGS: Mapping[str, Any] = {
    "svg.fonttype": "none",  # text stays text: small, selectable, in the page's font
    "svg.hashsalt": "evergreen",  # equal facts give equal files
    "figure.dpi": PIXELS_PER_INCH,
    "font.family": ["DejaVu Sans"],
    "font.size": 11,
    "text.color": INK,
    "text.parse_math": False,  # a `$` in a column's name is a `$`
    "axes.edgecolor": RULE,
    "axes.facecolor": "none",
    "axes.labelcolor": MUTED,
    "axes.labelsize": 11,
    "axes.titlesize": 11,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.linewidth": 1,
    "axes.grid": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.unicode_minus": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
}


@dataclass(frozen=True)
class Drawing:
    """One figure: what it is called, what it shows, and its SVG with stand-in colours."""

    name: str  # of the file
    title: str  # says what is seen
    caption: str  # how to read it
    svg: str
    width: int
    height: int
    values: str = ""  # what is drawn, in words, for whoever cannot see it


_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_COORDINATE = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
_FAMILY = re.compile(r"font-family:[^;]*;? ?")


def clean(svg: str, name: str) -> str:
    """Return Matplotlib's SVG as a small fragment: short numbers, no metadata, ids of its own.

    Ids begin with the figure's name, so that many figures can live in one page.
    """
    root = ElementTree.fromstring(svg)  # noqa: S314 (our own SVG)
    for child in list(root):
        if child.tag == f"{_SVG}metadata" or child.find(f"{_SVG}style") is not None:
            root.remove(child)
    elements = list(root.iter())
    used = {
        found
        for element in elements
        for value in (element.get(_HREF), element.get("clip-path"))
        for found in re.findall(r"#([^)]+)", value or "")
    }
    for element in elements:
        _simplify(element, name, used)
    ElementTree.register_namespace("", "http://www.w3.org/2000/svg")
    return re.sub(r">\s*\n\s*<", "><", ElementTree.tostring(root, encoding="unicode"))


def _simplify(element: Element, name: str, used: set[str]) -> None:
    identity = element.attrib.pop("id", None)
    if identity in used:
        element.set("id", f"{name}-{identity}")
    if reference := element.attrib.pop(_HREF, None):
        element.set("href", f"#{name}-{reference[1:]}")
    if clip := element.get("clip-path"):
        element.set("clip-path", clip.replace("#", f"#{name}-"))
    for key in ("d", "x", "y", "transform"):
        if value := element.get(key):
            element.set(key, _COORDINATE.sub(_rounded, value).replace("\n", " ").strip())
    if element.get("transform", "").startswith(("rotate(-0 ", "rotate(0 ")):
        del element.attrib["transform"]
    if style := element.get("style"):
        element.set("style", _FAMILY.sub("", style))
    marks = list(element)
    styles = {mark.get("style") for mark in marks}
    if len(marks) > 1 and len(styles) == 1 and all(mark.tag == f"{_SVG}use" for mark in marks):
        element.set("style", styles.pop() or "")
        for mark in marks:
            mark.attrib.pop("style", None)


def _rounded(match: re.Match[str]) -> str:
    return f"{float(match[0]):.1f}".removesuffix(".0")


def inline(drawing: Drawing) -> Markup:
    """Return the drawing as SVG for a page, in the page's colours and font."""
    svg = drawing.svg
    for name, stand_in in STAND_INS.items():
        svg = svg.replace(stand_in, f"var(--{name})")
    return Markup(_opening(drawing, top=0) + _inside(svg) + "</svg>")  # noqa: S704 (our own SVG)


def standalone(drawing: Drawing) -> str:
    """Return the drawing as an SVG file: its title above it, fixed colours on white."""
    top = 38
    svg = drawing.svg
    for name, stand_in in STAND_INS.items():
        svg = svg.replace(stand_in, COLOURS[name])
    title = _wrapped(drawing.title, max(int(drawing.width / 8.2), 20))
    top += 17 * (len(title) - 1)
    lines = "".join(
        f'<text x="12" y="{24 - top + 17 * row}" style="font-size: 13px; font-weight: 600; '
        f'fill: {COLOURS["ink"]}">{escape(line)}</text>'
        for row, line in enumerate(title)
    )
    background = (
        f'<rect x="0" y="{-top}" width="{drawing.width}" height="{drawing.height + top}" '
        f'fill="{COLOURS["paper"]}"/>'
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        + _opening(drawing, top, f' font-family="{FONTS}"')
        + background
        + lines
        + _inside(svg)
        + "</svg>\n"
    )


def _opening(drawing: Drawing, top: int, attributes: str = "") -> str:
    said = f"{drawing.title}. {drawing.caption} {drawing.values}".strip()
    label = escape(said, quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" '
        f'width="{drawing.width}" height="{drawing.height + top}" '
        f'viewBox="0 {-top} {drawing.width} {drawing.height + top}" '
        f'stroke-linejoin="round"{attributes}>'
    )


def _inside(svg: str) -> str:
    return svg[svg.index(">") + 1 : svg.rindex("</svg>")]


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) + 1 > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
