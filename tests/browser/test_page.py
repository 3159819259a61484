"""The page at ``/`` in real Chromium, on a real server with a real model."""

import csv
import json
import re
import sqlite3

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.support.served import serving


def predicted(page):
    """Press Predict and wait for prediction and explanation."""
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#answer")).to_be_visible()
    expect(page.locator("#why")).to_have_attribute("aria-busy", "false", timeout=60_000)


def shares(page):
    """Return the shown probabilities by class, in percent."""
    rows = page.locator("#probabilities li")
    return {
        row.locator(".name").inner_text(): float(row.locator(".figure").inner_text().strip("<>%"))
        for row in rows.all()
    }


def test_the_form_follows_the_contract(wine, watch):
    page = watch(wine).open()
    contract = httpx.get(f"{wine}/contract").json()
    columns = [column for column in contract["columns"] if column["role"] == "feature"]
    expect(page.locator(".field")).to_have_count(len(columns))
    for column in columns:
        field = page.get_by_label(column["name"].replace("_", " "), exact=False).first
        assert float(field.input_value()) == column["example"]
    expect(page.locator(".field").first).to_contain_text("% vol")
    expect(page.locator("h1")).to_have_text("Wine")
    expect(page.locator("#facts")).to_contain_text("Random forest")


def test_a_prediction_is_the_servers(wine, watch):
    page = watch(wine).open()
    page.get_by_role("button", name="Random example").click()
    with page.expect_request("**/predict") as sent:
        predicted(page)
    row = json.loads(sent.value.post_data)
    answer = httpx.post(f"{wine}/predict", json=row).json()
    expect(page.locator("#value")).to_have_text(answer["label"])
    for label, share in shares(page).items():
        assert share == pytest.approx(100 * answer["probabilities"][label], abs=0.06)
    explained = httpx.post(f"{wine}/explain", json=row).json()
    largest = explained["fields"][0]["field"].replace("_", " ")
    assert page.locator("#why").inner_text().count(largest) >= 1
    expect(page.locator("#why li")).to_have_count(9)
    expect(page.locator("#recent-rows tr")).to_have_count(1)


def test_random_examples_differ_and_are_taken(wine, watch):
    page = watch(wine).open()
    rows = set()
    for _ in range(5):
        page.get_by_role("button", name="Random example").click()
        with page.expect_response("**/predict") as got:
            page.get_by_role("button", name="Predict").click()
        assert got.value.status == 200
        rows.add(got.value.request.post_data)
    assert len(rows) == 5
    expect(page.locator("#recent-rows tr")).to_have_count(5)
    expect(page.locator("#spark polyline")).to_be_visible()
    expect(page.locator("#latency")).to_contain_text("median")


def test_what_is_wrong_is_said_at_the_field(wine, watch):
    page = watch(wine).open()
    page.get_by_label("alcohol").first.fill("strong")
    page.get_by_label("malic acid").fill("-3")
    page.get_by_label("hue").fill("")
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_label("alcohol").first).to_be_focused()
    for label, text in (("alcohol", "number"), ("malic acid", "at least 0"), ("hue", "missing")):
        field = page.locator(".field", has=page.get_by_label(label)).first
        expect(field.locator("[aria-invalid=true]")).to_have_count(1)
        expect(field.locator(".message")).to_contain_text(text)
    expect(page.locator("#form-error")).to_contain_text("3 inputs")
    expect(page.locator("#answer")).to_be_hidden()
    page.get_by_role("button", name="Typical values").click()
    predicted(page)
    expect(page.locator("[aria-invalid=true]")).to_have_count(0)
    expect(page.locator("#form-error")).to_be_hidden()


def test_odd_values_are_flagged_and_old_answers_marked(wine, watch):
    page = watch(wine).open()
    page.get_by_label("ash", exact=True).fill("9")
    predicted(page)
    expect(page.locator("#flags")).to_contain_text("outside what training saw")
    expect(page.locator("#stale")).to_be_hidden()
    page.get_by_label("ash", exact=True).fill("2")
    expect(page.locator("#stale")).to_be_visible()


def test_the_keyboard_suffices(wine, watch):
    page = watch(wine).open()
    field = page.get_by_label("proline")
    field.focus()
    before = float(field.input_value())
    page.keyboard.press("ArrowUp")
    assert float(field.input_value()) > before
    page.keyboard.press("Enter")
    expect(page.locator("#answer")).to_be_visible()
    page.reload()
    expect(page.locator(".field").first).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()


def test_a_file_of_rows_comes_back_with_predictions(wine, watch, tmp_path):
    page = watch(wine).open()
    with page.expect_download() as sample:
        page.get_by_role("button", name="Get a sample file").click()
    rows = tmp_path / "wines.csv"
    sample.value.save_as(rows)
    page.set_input_files("#file", rows)
    with page.expect_download() as answer:
        page.get_by_role("link", name="Download").click()
    assert answer.value.suggested_filename == "wines-predictions.csv"
    with answer.value.path().open(newline="") as file:
        found = list(csv.DictReader(file))
    with rows.open(newline="") as file:
        sent = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    expected = httpx.post(f"{wine}/predict/batch", json=sent).json()["predictions"]
    assert [row["prediction"] for row in found] == [row["label"] for row in expected]
    expect(page.locator("#batch")).to_contain_text("20 rows")


def test_a_bad_file_is_refused_row_by_row(wine, watch, tmp_path):
    page = watch(wine).open()
    names = [c["name"] for c in httpx.get(f"{wine}/contract").json()["columns"]][:13]
    lines = [",".join(names), ",".join("1" * 13), ",".join(["strong", *"1" * 12])]
    bad = tmp_path / "bad.csv"
    bad.write_text("\n".join(lines))
    page.set_input_files("#file", bad)
    expect(page.locator("#batch [role=alert]")).to_contain_text("bad.csv was refused")
    row = page.locator("#batch tbody tr").first
    expect(row.locator("td")).to_contain_text(["1", "alcohol", "number"])


def test_a_dropped_file_is_taken(wine, watch):
    page = watch(wine).open()
    expect(page.locator(".field").first).to_be_visible()
    row = httpx.get(f"{wine}/contract/example").json()
    text = ",".join(row) + "\n" + ",".join(map(str, row.values()))
    page.evaluate(
        """text => {
          const data = new DataTransfer();
          data.items.add(new File([text], "dropped.csv", { type: "text/csv" }));
          const options = { dataTransfer: data, bubbles: true, cancelable: true };
          document.getElementById("drop").dispatchEvent(new DragEvent("drop", options));
        }""",
        text,
    )
    expect(page.locator("#batch")).to_contain_text("1 row in")


def test_recent_predictions_outlive_a_reload_and_can_be_reused(wine, watch):
    page = watch(wine).open()
    page.get_by_label("proline").fill("1234")
    predicted(page)
    page.reload()
    expect(page.get_by_label("proline")).not_to_have_value("1234")
    page.get_by_role("button", name=re.compile("Reuse")).click()
    expect(page.get_by_label("proline")).to_have_value("1234")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_everybody_can_use_it(wine, watch, scheme, width):
    watched = watch(wine, color_scheme=scheme, viewport={"width": width, "height": 844})
    page = watched.open()
    page.get_by_label("ash", exact=True).fill("9")
    predicted(page)
    page.get_by_label("hue").fill("no number")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".message")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    # The old answer stands dimmed on purpose; its contrast is looked at while it is new.
    page.get_by_role("button", name="Typical values").click()
    predicted(page)
    found = Axe().run(page)
    assert found.response["violations"] == [], found.generate_report()


def test_two_classes_are_explained_from_either_side(bundles, tmp_path, watch):
    with serving(bundles / "cancer", tmp_path) as address:
        page = watch(address).open()
        predicted(page)
        label = page.locator("#value").inner_text()
        row = httpx.get(f"{address}/contract").json()["schema"]["examples"][0]
        explained = httpx.post(f"{address}/explain", json=row).json()
        first = explained["fields"][0]
        sign = 1 if explained["outputs"] == [label] else -1
        shown = page.locator("#why li").first.locator(".figure").inner_text().replace("−", "-")
        assert float(shown) == pytest.approx(sign * first["contributions"][0], rel=0.01)
        expect(page.locator("#why")).to_contain_text(f"speaks for {label}")


def test_a_number_is_shown_within_its_range(bundles, tmp_path, watch):
    with serving(bundles / "diabetes", tmp_path) as address:
        page = watch(address).open()
        expect(page.locator("select[name=sex]")).to_have_count(1)
        predicted(page)
        row = httpx.get(f"{address}/contract").json()["schema"]["examples"][0]
        answer = httpx.post(f"{address}/predict", json=row).json()
        shown = float(page.locator("#value").inner_text().split()[0])
        assert shown == pytest.approx(answer["prediction"], rel=1e-3)
        expect(page.locator(".scale")).to_contain_text("range in training")
        expect(page.locator("#why")).to_contain_text("lowers it")


def test_every_type_has_its_field_and_gaps_are_allowed(bundles, tmp_path, watch):
    with serving(bundles / "boats", tmp_path) as address:
        page = watch(address).open()
        page.get_by_label("mast / height").fill("12,5")
        page.get_by_label("crew").fill("4")
        page.get_by_label("licensed").select_option("no")
        page.get_by_label("harbour").fill("Åbo <b>")
        page.get_by_label("built").fill("1999-02-03T04:05:06")
        with page.expect_request("**/predict") as sent:
            predicted(page)
        assert json.loads(sent.value.post_data) == {
            "mast / height": 12.5,
            "crew": 4,
            "licensed": False,
            "harbour": "Åbo <b>",
            "built": "1999-02-03T04:05:06",
        }
        expect(page.locator("#why")).to_contain_text("Åbo <b>")
        page.get_by_label("harbour").fill("")
        with page.expect_response("**/predict") as got:
            page.get_by_role("button", name="Predict").click()
        assert json.loads(got.value.request.post_data)["harbour"] is None
        assert got.value.status == 200


def test_the_command_for_a_terminal_repeats_the_prediction(wine, watch):
    page = watch(wine).open()
    predicted(page)
    page.get_by_text("The same request from a terminal").click()
    command = page.locator("#command").inner_text()
    assert f"{wine}/predict" in command
    body = re.search(r"-d '(.*)'", command, re.DOTALL)[1]
    answer = httpx.post(f"{wine}/predict", json=json.loads(body)).json()
    expect(page.locator("#value")).to_have_text(answer["label"])


def test_an_api_key_is_asked_for_where_one_is_needed(bundles, tmp_path, watch, monkeypatch):
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / "evergreen"))
    from evergreen.paths import Home
    from evergreen.serving.keys import KeyRing

    _, key = KeyRing(Home.locate().root / "serving" / "keys.json").create("page")
    with serving(bundles / "wine", tmp_path, "--require-keys") as address:
        page = watch(address).open()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        page.get_by_label("API key", exact=True).fill("wrong")
        page.get_by_role("button", name="Continue").click()
        expect(dialog.get_by_role("alert")).not_to_be_empty()
        page.get_by_label("API key", exact=True).fill(key)
        page.get_by_role("button", name="Continue").click()
        expect(dialog).to_be_hidden()
        predicted(page)
        page.reload()
        expect(page.locator(".field").first).to_be_visible()
        expect(dialog).to_be_hidden()
        assert page.evaluate("Object.keys(localStorage).length") == 0


def test_a_server_that_went_away_is_no_riddle(bundles, tmp_path, watch):
    with serving(bundles / "wine", tmp_path) as address:
        watched = watch(address)
        page = watched.open()
        expect(page.locator(".field").first).to_be_visible()
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#form-error")).to_contain_text("The server does not answer")
    watched.mistakes.clear()  # Chromium's own word on the refused connection


def test_the_documentation_works_without_the_internet(wine, watch):
    page = watch(wine).open("/docs")
    expect(page.locator(".opblock")).not_to_have_count(0)
    expect(page.get_by_text("/predict/batch", exact=False).first).to_be_visible()


def test_what_the_page_asked_is_in_the_prediction_log(bundles, tmp_path, watch):
    with serving(bundles / "wine", tmp_path) as address:
        page = watch(address).open()
        predicted(page)
        number = page.locator("#call dd").last.inner_text()
    database = sqlite3.connect(tmp_path / "evergreen" / "predictions.db")
    rows = database.execute("select request_id from predictions").fetchall()
    database.close()
    assert rows == [(number,)]
