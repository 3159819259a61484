"""Templates become pages: one environment for HTML, one for Markdown, both escape by themselves."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from markupsafe import Markup

from evergreen.promotion.verdict import RuleResult
from evergreen.reporting import numbers
from evergreen.reporting.style import inline
from evergreen.training.results import Interval

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~$&!])")


class Markdown(str):
    """Text that is Markdown already and is not escaped again."""

    __slots__ = ()


def html_page(template: str, **values: Any) -> str:
    """Return a self-contained page: style inside, no scripts, nothing loaded from elsewhere."""
    css = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))  # noqa: S704 (our file)
    page = _html().get_template(template).render(css=css, **values)
    return re.sub(r"\n\s*\n+", "\n", page)


def markdown_page(template: str, **values: Any) -> str:
    """Return a Markdown document; every value is escaped unless it is `Markdown`."""
    page = _markdown().get_template(template).render(**values)
    return re.sub(r"\n{3,}", "\n\n", page).strip() + "\n"


def escape_markdown(text: str) -> Markdown:
    """Return text on one line that Markdown and its tables show as it is."""
    return Markdown(_MARKDOWN.sub(r"\\\1", " ".join(text.split())))


def code(text: str) -> Markdown:
    """Return text as inline code, whatever backticks it holds (CommonMark 6.1)."""
    flat = " ".join(text.split()).replace("|", "¦")
    fence = "`" * (max((len(run) for run in re.findall(r"`+", flat)), default=0) + 1)
    pad = " " if "`" in flat else ""
    return Markdown(f"{fence}{pad}{flat}{pad}{fence}")


def web_address(url: str | None) -> str | None:
    """Return an address that a page may link to: http, https or nothing."""
    return url if url and urlsplit(url).scheme in {"http", "https"} else None


def without_password(text: str) -> str:
    """Hide a password within an address (``user:secret@host``); references stay readable."""
    return re.sub(r"(://[^\s:/@]*:)(?!\$\{)[^\s@/]+@", r"\1***@", text)


@functools.cache
def _html() -> Environment:
    environment = _environment(autoescape=True)
    environment.filters["inline"] = inline
    environment.filters["parts"] = numbers.estimate_and_bounds
    environment.filters["rule_interval"] = _rule_interval
    environment.filters["web_address"] = web_address
    return environment


@functools.cache
def _markdown() -> Environment:
    environment = _environment(autoescape=False)
    environment.filters["code"] = code
    environment.filters["markdown"] = Markdown
    environment.finalize = _escaped
    return environment


def _environment(*, autoescape: bool) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=autoescape,  # noqa: S701 (Markdown has its own escaping)
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for each in (
        numbers.number,
        numbers.interval,
        numbers.plain,
        numbers.correlation,
        numbers.count,
        numbers.plural,
        numbers.share,
        numbers.seconds,
        numbers.moment,
        numbers.short_hash,
        numbers.shorten,
        numbers.listing,
    ):
        environment.filters[each.__name__] = each
    environment.filters["without_password"] = without_password
    environment.tests["measured"] = numbers.measured
    return environment


def _escaped(value: Any) -> str:
    return value if isinstance(value, Markdown) else escape_markdown(str(value))


def _rule_interval(rule: RuleResult) -> Interval:
    return Interval(estimate=rule.figure, low=rule.low, high=rule.high)
