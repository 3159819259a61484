"""Pagination in four styles, and its guards, against a real local server."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from evergreen.data.source_config import HttpSource
from evergreen.data.sources import read_source
from evergreen.errors import InputError, UnreachableError
from tests.support.web_server import Reply, serving


def _rows(start, stop):
    return [{"n": n, "text": f"row {n}"} for n in range(start, stop)]


def _read(url, environ=None, **settings):
    source = HttpSource(url=url, **settings)
    return read_source(source, environ=environ or {}, backoff=0.001)


def _numbered(total, largest, *, after_end="[]", status=200):
    """A server of ``total`` rows that gives at most ``largest`` of them per page."""

    def answer(request):
        size = min(int(request.query.get("size", largest)), largest)
        if "offset" in request.query:
            start = int(request.query["offset"])
        else:
            start = (int(request.query["page"]) - 1) * size
        if start >= total:
            return Reply(after_end, status=status)
        return Reply(json.dumps(_rows(start, min(start + size, total))))

    return answer


@pytest.mark.parametrize(
    "pagination",
    [
        {"style": "page"},
        {"style": "page", "size_param": "size", "size": 3},
        {"style": "page", "size_param": "size", "size": 100},
        {"style": "offset", "size_param": "size", "size": 3},
        {"style": "offset", "size_param": "size", "size": 100},
    ],
)
@pytest.mark.parametrize("total", [1, 5, 9])
@pytest.mark.parametrize("end", [("[]", 200), ("", 404)])
def test_numbered_pages_are_all_read(pagination, total, end):
    with serving(_numbered(total, 5, after_end=end[0], status=end[1])) as server:
        frame = _read(server.url, pagination=pagination)
    assert frame["n"].tolist() == list(range(total))


def test_a_short_page_saves_the_request_after_it():
    with serving(_numbered(8, 5)) as server:
        _read(server.url, pagination={"style": "page"})
    assert len(server.requests) == 2


def test_pages_may_start_at_zero_and_be_csv():
    pages = {"0": "n,text\n0,a\n1,b\n", "1": "n,text\n2,c\n3,\n", "2": "n,text\n"}
    with serving(lambda r: Reply(pages[r.query["p"]], content_type="text/csv")) as server:
        frame = _read(server.url, pagination={"style": "page", "param": "p", "start": 0})
    assert frame["n"].tolist() == [0, 1, 2, 3]


def test_csv_pages_without_a_header_are_refused():
    pages = {"1": "n,text\n0,a\n1,b\n", "2": "2,c\n3,d\n"}
    with (
        serving(lambda r: Reply(pages[r.query["page"]], content_type="text/csv")) as server,
        pytest.raises(InputError, match=r"page 2.*other columns \(2, c\).*lack a header"),
    ):
        _read(server.url, pagination={"style": "page"})


def test_a_404_on_the_first_page_is_a_mistake():
    with (
        serving(lambda _: Reply(status=404)) as server,
        pytest.raises(InputError, match="answers 404"),
    ):
        _read(server.url, pagination={"style": "page"})


def _cursors(pages, path):
    """A server of pages by cursor, the next cursor at a dotted path."""

    def answer(request):
        number = int(request.query.get("cursor", 0))
        following = number + 1 if number + 1 < len(pages) else None
        document = {"rows": pages[number]}
        holder = document
        *parents, last = path.split(".")
        for parent in parents:
            holder = holder.setdefault(parent, {})
        holder[last] = following
        return Reply(json.dumps(document))

    return answer


@pytest.mark.parametrize("path", ["next", "meta.paging.next"])
def test_cursors_are_followed_also_past_an_empty_page(path):
    pages = [_rows(0, 2), [], _rows(2, 3)]
    with serving(_cursors(pages, path)) as server:
        pagination = {"style": "cursor", "path": path}
        frame = _read(server.url, records="rows", pagination=pagination)
    assert frame["n"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("full", [True, False])
def test_a_cursor_may_be_the_whole_next_address(full):
    with serving(lambda request: answers[request.query.get("at", "0")]) as server:
        following = f"{server.url if full else ''}/d?at=1"
        answers = {
            "0": Reply(json.dumps({"results": _rows(0, 2), "next": following})),
            "1": Reply(json.dumps({"results": _rows(2, 4), "next": None})),
        }
        headers = {"Authorization": "Bearer ${TOKEN}"}
        frame = _read(
            server.url + "/d",
            {"TOKEN": "s3cret-value"},
            records="results",
            headers=headers,
            pagination={"style": "cursor"},
        )
    assert frame["n"].tolist() == [0, 1, 2, 3]
    assert all(r.headers["authorization"] == "Bearer s3cret-value" for r in server.requests)


def test_a_cursor_that_is_absent_ends_the_table_but_a_misspelt_path_does_not():
    document = json.dumps({"rows": _rows(0, 2), "next_token": None})
    with serving(lambda _: Reply(document)) as server:
        pagination = {"style": "cursor", "path": "nextToken"}
        with pytest.raises(InputError, match="nothing at 'nextToken'; did you mean 'next_token'"):
            _read(server.url, records="rows", pagination=pagination)
        pagination = {"style": "cursor", "path": "continuation"}
        assert len(_read(server.url, records="rows", pagination=pagination)) == 2


def test_a_cursor_needs_a_json_object():
    with (
        serving(lambda _: Reply(json.dumps(_rows(0, 1)))) as server,
        pytest.raises(InputError, match="needs a JSON object"),
    ):
        _read(server.url, pagination={"style": "cursor"})
    with (
        serving(lambda _: Reply(json.dumps({"rows": _rows(0, 1), "next": [1]}))) as server,
        pytest.raises(InputError, match="'next' holds no cursor"),
    ):
        _read(server.url, records="rows", pagination={"style": "cursor"})


def test_link_headers_are_followed():
    def answer(request):
        number = int(request.query.get("page", 1))
        links = {"Link": f'</d?page={number + 1}>; rel="next", </d?page=1>; rel="first"'}
        rows = _rows(2 * number - 2, 2 * number)
        return Reply(json.dumps(rows), headers=links if number < 3 else {})

    with serving(answer) as server:
        frame = _read(server.url + "/d", pagination={"style": "link"})
    assert frame["n"].tolist() == list(range(6))


def test_a_link_to_another_server_gets_no_secret_headers():
    with serving(lambda _: Reply(json.dumps(_rows(2, 3)))) as other:
        links = {"Link": f'<{other.url}/d>; rel="next"'}
        with serving(lambda _: Reply(json.dumps(_rows(0, 2)), headers=links)) as server:
            frame = _read(
                server.url,
                {"KEY": "s3cret-value"},
                headers={"X-Api-Key": "${KEY}"},
                pagination={"style": "link"},
            )
    assert len(frame) == 3
    assert "x-api-key" in server.requests[0].headers
    assert "x-api-key" not in other.requests[0].headers


def test_pages_that_go_in_a_circle_are_refused():
    def answer(request):
        following = "1" if request.query.get("cursor") == "2" else "2"
        return Reply(json.dumps({"rows": _rows(0, 1), "next": following}))

    with (
        serving(answer) as server,
        pytest.raises(InputError, match="go in a circle"),
    ):
        _read(server.url, records="rows", pagination={"style": "cursor"})
    assert len(server.requests) == 3


def test_a_server_that_ignores_the_page_number_is_noticed():
    with (
        serving(lambda _: Reply(json.dumps(_rows(0, 5)))) as server,
        pytest.raises(InputError, match="repeats the page before; the server seems to ignore"),
    ):
        _read(server.url, pagination={"style": "page"})


def test_more_pages_than_allowed_are_refused_not_cut():
    with serving(_numbered(100, 5)) as server:
        with pytest.raises(InputError, match=r"more pages than data\.source\.max_pages \(3\)"):
            _read(server.url, pagination={"style": "page"}, max_pages=3)
        assert len(_read(server.url, pagination={"style": "page"}, max_pages=21)) == 100
        assert len(_read(server.url + "?page=1", max_pages=1)) == 5


def test_one_page_that_keeps_failing_names_itself():
    def answer(request):
        if request.query["page"] == "2":
            return Reply("oops", status=500)
        return Reply(json.dumps(_rows(0, 5)))

    with (
        serving(answer) as server,
        pytest.raises(UnreachableError, match=r"\(page 2\): tried 2 times, without success"),
    ):
        _read(server.url, pagination={"style": "page"}, retries=1)


def test_a_page_size_needs_its_parameter():
    for settings in ({"size": 5}, {"size_param": "limit"}):
        with pytest.raises(ValidationError, match="size_param and size go together"):
            HttpSource(url="http://h/", pagination={"style": "page", **settings})
