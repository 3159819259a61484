"""What every page must be: well-formed, free of scripts, and complete by itself."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "hr", "input", "col", "area", "base", "source", "wbr"}
SVG_EMPTY_ALLOWED = {"path", "use", "circle", "rect", "line"}
FORBIDDEN = {"script", "iframe", "object", "embed", "link", "img", "base", "form"}


class Page(HTMLParser):
    """A parsed page; raises `AssertionError` at the first fault."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.links: list[str] = []
        self.headings: list[int] = []
        self.pieces: list[str] = []
        self.labelled: list[dict[str, str | None]] = []
        self.feed(html)
        self.close()
        assert not self.open, f"not closed: {self.open}"
        assert len(self.ids) == len(set(self.ids)), "an id occurs twice"
        missing = set(self.references) - set(self.ids)
        assert not missing, f"references to nothing: {missing}"

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        assert len(given) == len(attributes), f"an attribute of <{tag}> occurs twice"
        assert tag not in FORBIDDEN, f"<{tag}> must not be in a page"
        handlers = [name for name in given if name.startswith("on")]
        assert not handlers, f"<{tag}> has {handlers}"
        self._references(tag, given)
        if "id" in given:
            self.ids.append(given["id"])
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "svg":
            self.labelled.append(given)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        inside = self.open[-1] if self.open else ""
        if inside == "style":
            assert "url(" not in data and "@import" not in data, "the style loads something"
        else:
            self.pieces.append(data)

    def _references(self, tag, given):
        for name, value in given.items():
            said = value or ""
            assert "javascript:" not in said.lower()
            if name in {"src", "srcset", "data", "action", "background"} or name == "xlink:href":
                raise AssertionError(f"<{tag} {name}> loads {value}")
            if name == "href" and tag == "a":
                self.links.append(said)
            elif name == "href":
                assert said.startswith("#"), f"<{tag} href> loads {value}"
                self.references.append(said[1:])
            if name != "xmlns":
                self.references += re.findall(r"url\(#([^)]+)\)", said)
                assert not re.search(r"url\((?!#)", said), f"<{tag} {name}> loads {value}"
            if name == "aria-labelledby":
                self.references.append(said)

    @property
    def text(self) -> str:
        """What a reader sees, in one line."""
        return re.sub(r"\s+", " ", " ".join(self.pieces))


def check_page(html: str) -> Page:
    """Check a whole page and return it parsed."""
    assert html.startswith("<!doctype html>")
    page = Page(html)
    assert page.headings[0] == 1 and page.headings.count(1) == 1
    steps = zip(page.headings, page.headings[1:], strict=False)
    assert all(after <= before + 1 for before, after in steps), "a heading's level is left out"
    for attributes in page.labelled:
        assert attributes.get("aria-hidden") == "true" or attributes.get("aria-label")
    assert not re.search(r"\bnan\b|\bNone\b|\binf\b", page.text), "an unworded value"
    return page
