"""CSV files in the forms in which people really write them."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evergreen.data.source_config import CsvSource
from evergreen.data.sources import read_source
from evergreen.data.sources.csv_source import csv_frames
from evergreen.data.sources.environment import Environment
from evergreen.errors import InputError, UnreachableError

PLAIN = "a,b,c\n1,x,0.5\n2,y,1.5\n"


def _read(path, text=None, **settings):
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_source(CsvSource(path=str(path), **settings), environ={})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "table.csv"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_delimiters_and_line_ends_are_detected(path, delimiter, newline):
    text = PLAIN.replace(",", delimiter).replace("\n", newline)
    expected = pd.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": [0.5, 1.5]})
    pd.testing.assert_frame_equal(_read(path, text), expected)


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"],
)
def test_encodings_are_detected(path, encoding):
    text = "Name;Größe;Straße\nMüller;1;Königsallee\nJäger;2;Düsterstraße\n"
    frame = _read(path, text.encode(encoding))
    assert list(frame.columns) == ["Name", "Größe", "Straße"]
    assert list(frame["Name"]) == ["Müller", "Jäger"]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1251", "имя,город\nИван,Москва\nОльга,Санкт-Петербург\n"),
        ("koi8_r", "имя,город\nИван,Москва\nОльга,Санкт-Петербург\n"),
        ("shift_jis", "名前,都市\n太郎,東京\n花子,大阪\n"),
        ("gb18030", "姓名,城市\n王伟,北京\n李娜,上海\n"),
        ("cp1252", "name,city\nJosé,São Paulo\nAnaïs,Orléans\n"),
    ],
)
def test_encodings_of_other_scripts_are_detected(path, encoding, text):
    frame = _read(path, text.encode(encoding))
    assert list(frame.columns) == text.split("\n", maxsplit=1)[0].split(",")


def test_a_foreign_byte_after_the_sample_is_still_seen(path):
    rows = "x,1\n" * 400_000
    frame = _read(path, b"a,b\n" + rows.encode() + "Müller,2\n".encode("cp1252"))
    assert frame["a"].iloc[-1] == "Müller"


def test_a_given_encoding_holds_and_a_wrong_one_is_named(path):
    assert _read(path, "a,b\n€,1\n".encode("cp1252"), encoding="cp1252")["a"][0] == "€"
    assert list(_read(path, "\ufeffa,b\n1,2\n", encoding="UTF-8").columns) == ["a", "b"]
    with pytest.raises(InputError, match="not in utf-8-sig: byte 0x80"):
        _read(path, "a,b\n€,1\n".encode("cp1252"), encoding="utf-8")
    with pytest.raises(InputError, match="knows no encoding 'utf-9'"):
        _read(path, PLAIN, encoding="utf-9")
    late = b"a,b\n" + b"x,1\n" * 100_000 + b"\x81,1\n"
    with pytest.raises(InputError, match="not in cp1252: byte 0x81"):
        _read(path, late, encoding="cp1252")


@pytest.mark.parametrize("name", ["table.csv.gz", "table.csv"])
def test_compression_is_told_by_content(tmp_path, name):
    assert len(_read(tmp_path / name, gzip.compress(PLAIN.encode()))) == 2


def test_a_damaged_archive_is_named(tmp_path):
    whole = gzip.compress(("a,b\n" + "1,2\n" * 10_000).encode())
    with pytest.raises(InputError, match=r"table.csv.gz is compressed and damaged or cut short"):
        _read(tmp_path / "table.csv.gz", whole[: len(whole) // 2])


def test_a_file_that_goes_away_before_it_is_gone_through_again_is_named(path):
    path.write_text(PLAIN)
    frames, names = csv_frames(CsvSource(path=str(path)), Environment({}), lambda columns: 1)
    assert names == ["a", "b", "c"]
    assert sum(len(frame) for frame in frames((), ())) == 2
    path.unlink()
    with pytest.raises(UnreachableError, match=r"cannot read .*table.csv"):
        next(frames((), ()))


def test_quoted_fields_hold_delimiters_quotes_and_line_breaks(path):
    text = 'id,text\n1,"one, ""two""\nthree"\n2,"x"\n'
    frame = _read(path, text)
    assert list(frame["text"]) == ['one, "two"\nthree', "x"]


def test_blank_lines_and_blanks_after_the_delimiter_do_not_count(path):
    frame = _read(path, '\n \na, b\n1, "x, y"\n\n   \n2, z\n')
    assert list(frame.columns) == ["a", "b"]
    assert list(frame["b"]) == ["x, y", "z"]


def test_decimal_commas(path):
    frame = _read(path, "a;b\n1,5;2\n-0,25;3\n", decimal=",")
    assert list(frame["a"]) == [1.5, -0.25]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("a;b\n1,5;x\n;y\nn/a;z\n-20,25;x\n", 1.5),
        ('a,b\n"1,5",x\n"2,25",y\n', 1.5),
        ("a;b\n1,5;2024-01-01\n2;2024-01-02\n", 1.5),
        ("a;b\n1,5;01.02.2024\n2,5;02.02.2024\n", 1.5),
        ("a;b\n1.5;2,5\n2.5;3,5\n", 1.5),  # points and commas: points
        ("a;b\n1,234;x\n12,500;y\n", "1,234"),  # thousands, perhaps
        ("a;b\n1,2,3;x\n2,3,4;y\n", "1,2,3"),  # a list
    ],
)
def test_the_decimal_mark_is_found(path, text, first):
    assert _read(path, text)["a"][0] == first


def test_a_given_decimal_mark_counts(path):
    assert list(_read(path, "a;b\n1,234;x\n12,500;y\n", decimal=",")["a"]) == [1.234, 12.5]
    assert list(_read(path, "a;b\n1,5;x\n2,5;y\n", decimal=".")["a"]) == ["1,5", "2,5"]


def test_infinities_and_missing_values_stay_what_they_are(path):
    frame = _read(path, "a,b\ninf,NA\n-inf,?\n,-999\n1,2\n", missing=("?", "-999"))
    assert list(frame["a"][:2]) == [np.inf, -np.inf]
    assert frame["a"].isna().sum() == 1
    assert list(frame["b"].fillna(0)) == [0, 0, 0, 2]


def test_odd_column_names_stay(path):
    frame = _read(path, "od280/od315 of wine,a b\n1,2\n")
    assert list(frame.columns) == ["od280/od315 of wine", "a b"]


def test_the_first_column_never_becomes_an_index(path):
    frame = _read(path, ",a\n10,1\n11,2\n")
    assert list(frame.columns) == ["Unnamed: 0", "a"]
    assert frame.index.equals(pd.RangeIndex(2))


def test_a_delimiter_that_ends_every_line_makes_no_column(path):
    assert list(_read(path, "a,b,\n1,2,\n").columns) == ["a", "b"]
    assert list(_read(path, "a,b,\n1,2,\n3,4,5\n").columns) == ["a", "b", "Unnamed: 2"]


def test_duplicate_column_names_are_refused(path):
    with pytest.raises(InputError, match=r"'b' \(columns 2, 4\)"):
        _read(path, "a,b,c,b\n1,2,3,4\n")


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff", " \r\n", '""\n'])
def test_an_empty_file_is_refused(path, text):
    with pytest.raises(InputError, match=r"table\.csv is empty"):
        _read(path, text)


def test_a_header_alone_is_refused(path):
    with pytest.raises(InputError, match="no rows, only columns: a, b"):
        _read(path, "a,b\n")


def test_a_first_line_of_numbers_is_no_header(path):
    with pytest.raises(InputError, match="the first line holds numbers"):
        _read(path, "1.5,2,3\n2,3,4\n")


def test_a_note_to_excel_is_no_header(path):
    with pytest.raises(InputError, match="delete that line"):
        _read(path, "sep=;\na;b\n1;2\n")


def test_a_wrong_delimiter_is_named_with_the_right_one(path):
    with pytest.raises(InputError) as caught:
        _read(path, "a;b;c\n1;2;3\n", delimiter=",")
    assert "','" in str(caught.value)
    assert "only one column; ';' would split it evenly" in str(caught.value)
    with pytest.raises(InputError, match="';' would split it evenly"):
        _read(path, "a;b,c\n1;2,5\n3;4\n", delimiter=",")


def test_a_single_column_is_no_mistake(path):
    assert _read(path, "a\n1\n2\n")["a"].tolist() == [1, 2]
    assert _read(path, "a\n1\n2\n", delimiter=";")["a"].tolist() == [1, 2]


@pytest.mark.parametrize(("line", "width"), [("1,2", 2), ("1,2,3,4", 4), ("1,2,3,", 4)])
def test_uneven_lines_are_named_by_number(path, line, width):
    with pytest.raises(InputError, match=f"header has 3 fields, but line 4 has {width};"):
        _read(path, f'a,b,c\n1,"x\ny",3\n{line}\n1,2,3\n')


def test_many_uneven_lines_are_counted(path):
    with pytest.raises(InputError, match=r"line 4 has 1, line 5 has 1, line 6 has 1 \(9 such"):
        _read(path, "a,b\n1,2\n1,2\n" + "1\n" * 9)


def test_a_quote_that_never_closes_is_named(path):
    with pytest.raises(InputError, match=r"table\.csv"):
        _read(path, 'a,b\n1,2\n"3,4\n5,6\n')
    with pytest.raises(InputError, match=r"line 3: .*quotation mark never closed"):
        _read(path, 'a,b\n1,2\n"3,4\n' + "5,6\n" * 50_000)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PK\x03\x04\x00\x00", "Excel"),
        (b"PAR1\x00\x00", "Parquet"),
        (b"a,b\n\x00\x01\x00\x00\x02\x00", "zero bytes"),
    ],
)
def test_other_formats_are_recognised(path, content, what):
    with pytest.raises(InputError, match=what):
        _read(path, content)


def test_a_missing_file_is_compared_with_its_neighbours(tmp_path):
    (tmp_path / "orders_2024.csv").write_text(PLAIN)
    with pytest.raises(InputError, match=r"does not exist; did you mean orders_2024\.csv"):
        _read(tmp_path / "orders_2025.csv")
    with pytest.raises(InputError, match="nor does its folder"):
        _read(tmp_path / "no" / "x.csv")
    with pytest.raises(InputError, match="is a folder, not a file"):
        _read(tmp_path)


def test_the_path_may_refer_to_the_environment(path):
    path.write_text(PLAIN)
    source = CsvSource(path="${FOLDER}/table.csv")
    assert len(read_source(source, environ={"FOLDER": str(path.parent)})) == 2


_CELLS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), max_size=5
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(_CELLS, _CELLS), min_size=1, max_size=5), st.sampled_from(",;\t|"))
def test_text_written_by_pandas_comes_back(tmp_path, rows, delimiter):
    frame = pd.DataFrame([(f"k{a}", f"k{b}") for a, b in rows], columns=["first", "second"])
    path = tmp_path / "table.csv"
    frame.to_csv(path, sep=delimiter, index=False, quoting=1)
    pd.testing.assert_frame_equal(_read(path, delimiter=delimiter), frame)
