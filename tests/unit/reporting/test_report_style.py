from __future__ import annotations

import re
from html import escape
from xml.etree import ElementTree

import pytest

from evergreen.reporting.figures.canvas import drawing_style, row_sheet, square_sheet
from evergreen.reporting.pages import TEMPLATES
from evergreen.reporting.style import COLOURS, STAND_INS, inline, standalone

CSS = (TEMPLATES / "report.css").read_text(encoding="utf-8")
HOSTILE = "a <b> & \"c\" 0.123456 $x_1$ id='y' #fe"


def make_drawing(name="example"):
    with drawing_style():
        sheet, axes = row_sheet([HOSTILE[:24], "second"])
        axes.plot([0.123456, 0.654321], [0, 1], "o")
        axes.set_xlabel("0.123456")
        return sheet.drawing(name, f"Title {HOSTILE}", "Caption", "Values")


def themes():
    blocks = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    return [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in blocks]


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_light_dark_and_print_know_every_colour():
    light, dark, printed = themes()
    assert light.keys() == dark.keys() == printed.keys()
    assert light.keys() >= COLOURS.keys() - {"bad"}
    assert {name: light[name] for name in COLOURS} == dict(COLOURS)


@pytest.mark.parametrize("theme", themes(), ids=["light", "dark", "print"])
def test_text_and_marks_can_be_told_from_the_paper(theme):
    for name in ("ink", "muted", "good", "wait", "bad", "same", "challenger"):  # WCAG 2.2, 1.4.3
        assert contrast(theme[name], theme["paper"]) >= 4.5, name
        assert contrast(theme["ink"], theme["tint"]) >= 4.5
    for name in theme:  # WCAG 2.2, 1.4.11
        if name.startswith("series-") or name in {"champion", "baseline"}:
            assert contrast(theme[name], theme["paper"]) >= 3, name


def test_the_pages_style_loads_nothing():
    assert "url(" not in CSS
    assert "@import" not in CSS


def test_a_standalone_figure_is_xml_in_fixed_colours_with_its_title():
    svg = standalone(make_drawing())
    root = ElementTree.fromstring(svg)
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert any("Title" in (text or "") for text in texts)
    assert "0.123456" in texts  # numbers within text stay as they are
    assert "var(" not in svg
    assert not any(stand_in in svg for stand_in in STAND_INS.values())


def test_an_inline_figure_takes_the_pages_colours():
    svg = str(inline(make_drawing()))
    ElementTree.fromstring(svg)
    assert "var(--muted)" in svg
    assert "<text" in svg and escape(HOSTILE[:6], quote=False) in svg
    assert not any(stand_in in svg for stand_in in STAND_INS.values())
    assert "DejaVu" not in svg


def test_ids_of_two_figures_never_meet():
    ids = [re.findall(r'\bid="([^"]+)"', make_drawing(name).svg) for name in ("one", "two")]
    assert ids[0] and ids[1]
    assert not set(ids[0]) & set(ids[1])


def test_equal_figures_are_equal_files():
    assert standalone(make_drawing()) == standalone(make_drawing())


def test_drawing_leaves_matplotlibs_settings_alone():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    with drawing_style():
        square_sheet()
    assert dict(mpl.rcParams) == before
