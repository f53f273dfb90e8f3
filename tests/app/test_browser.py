"""The page in a real browser: photos dropped, the answer read, the map faded, the table downloaded, by mouse and keys.

Runs where playwright and a Chromium are; axe-core, which axe-playwright-python brings, checks what can be checked of
labels, contrast, landmarks and names.
"""

from __future__ import annotations

import base64
import csv
import re
import shutil

import pytest

pytest.importorskip("axe_playwright_python", reason="playwright and axe-core are not installed")

from axe_playwright_python.sync_playwright import Axe
from playwright import sync_api

from skinjax.labels.titles import title_in
from skinjax.predict import wording
from skinjax.predict.cases import case_header, predict_cases
from tests.app.conftest import serving

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium was found"),
]

DROP = """async ([names, files]) => {
  const data = new DataTransfer();
  for (let place = 0; place < names.length; place++) {
    const bytes = Uint8Array.from(atob(files[place]), (letter) => letter.charCodeAt(0));
    data.items.add(new File([bytes], names[place], { type: "image/jpeg" }));
  }
  document.body.dispatchEvent(new DragEvent("dragover", { dataTransfer: data, bubbles: true, cancelable: true }));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


PASTE = """([name, file]) => {
  const data = new DataTransfer();
  const bytes = Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0));
  data.items.add(new File([bytes], name, { type: "image/jpeg" }));
  document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
}"""


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(
    params=[(1280, "en", "light"), (390, "en", "dark"), (390, "zh-CN", "light")],
    ids=["1280 en", "390 en dark", "390 zh"],
)
def page(request, browser, address):
    """A page of the server, on which every request is recorded, and none may leave it."""
    width, language, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": 844},
        locale=language,
        color_scheme=scheme,
        is_mobile=width < 600,
        has_touch=width < 600,
    )
    page = context.new_page()
    asked, said = [], []
    page.on("request", lambda one: asked.append(one.url))
    page.on("console", lambda one: said.append(one.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address)
    yield page
    context.close()
    local = (f"{address}/", "data:", "blob:")
    assert [url for url in asked if not url.startswith(local)] == []
    assert [text for text in said if "Failed to load resource" not in text] == []


def check(page) -> None:
    """No violation that axe-core knows, and nothing wider than the window."""
    found = Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def drop(page, paths) -> None:
    files = [base64.b64encode(path.read_bytes()).decode() for path in paths]
    page.evaluate(DROP, [[path.name for path in paths], files])


def code_of(page) -> str:
    return page.get_attribute("html", "lang").split("-")[0]


def test_two_photos_are_dropped_and_the_answer_is_read_and_faded(page, engine, photos):
    check(page)
    drop(page, photos[:2])
    assert page.locator("#chosen li").count() == 2
    check(page)
    page.click("form [type=submit]")
    page.wait_for_selector("#answer-title")
    taxonomy, code = engine.predictor.taxonomy, code_of(page)
    (expected,) = predict_cases(engine.predictor, {"": photos[:2]}, engine.context, batch_size=1)
    heading = wording.heading(expected, taxonomy, code)
    assert page.inner_text("#answer-title") == heading
    assert heading in page.text_content("#status")
    assert page.evaluate("document.activeElement.id") == "answer-title"
    name, share = expected.top(taxonomy, taxonomy.finest)[0]
    first = page.locator(".bars").first.locator("li").first
    assert title_in(taxonomy, name, code) in first.inner_text()
    assert wording.percent(share) in first.inner_text()
    assert expected.advice is not None
    assert page.inner_text(".advice .words") == wording.advice_sentences(expected, code)[0]
    check(page)
    page.locator("details").first.evaluate("one => one.open = true")
    check(page)

    def opacities() -> list[float]:
        return page.locator(".heat").evaluate_all(
            "maps => maps.map((map) => Number(getComputedStyle(map).opacity))"
        )

    assert opacities() == [0.5, 0.5]
    page.focus("#fade")
    page.keyboard.press("Home")
    assert opacities() == [0, 0]
    page.keyboard.press("End")
    assert opacities() == [1, 1]
    page.keyboard.press("ArrowLeft")
    assert opacities() == [0.99, 0.99]


def test_a_batch_is_grouped_sorted_and_downloaded(page, engine, photos, address):
    page.click("nav a[href='/batch']")
    check(page)
    page.set_input_files("#files", photos[:6])
    page.check("#by-name")
    page.click("form [type=submit]")
    sync_api.expect(page.locator("tbody tr")).to_have_count(3)
    sync_api.expect(page.locator("#stop")).to_be_hidden()
    check(page)

    def names() -> list[str]:
        return page.locator("tbody th button").all_inner_texts()

    assert names() == ["0", "1", "2"]
    page.locator("thead button").first.press("Enter")
    page.locator("thead button").first.press("Enter")
    assert names() == ["2", "1", "0"]
    assert page.locator("thead th").first.get_attribute("aria-sort") == "descending"
    page.locator("thead button").nth(2).click()
    shares = page.locator("tbody td:nth-child(3)").evaluate_all(
        "cells => cells.map((one) => Number(one.dataset.sort))"
    )
    assert shares == sorted(shares)
    with page.expect_download() as downloading:
        page.click("#download")
    with open(downloading.value.path(), encoding="utf-8-sig", newline="") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    taxonomy = engine.predictor.taxonomy
    assert set(rows) == {"0", "1", "2"}
    assert tuple(rows["0"]) == case_header(taxonomy)
    groups = {str(n): photos[2 * n : 2 * n + 2] for n in range(3)}
    for answer in predict_cases(engine.predictor, groups, engine.context, batch_size=1):
        name = taxonomy.classes()[0]
        assert float(rows[answer.case][f"p_{name}"]) == pytest.approx(
            answer.probabilities[taxonomy.finest][0], abs=1e-6
        )
    page.locator("tbody th button").first.click()
    page.wait_for_selector("#detail #answer-title")
    check(page)


def test_a_photo_is_pasted_beside_one_from_the_camera(page, photos):
    page.set_input_files("#camera", photos[0])
    page.evaluate(PASTE, ["pasted.jpg", base64.b64encode(photos[1].read_bytes()).decode()])
    assert page.locator("#chosen img").evaluate_all("images => images.map((one) => one.alt)") == [
        photos[0].name,
        "pasted.jpg",
    ]
    assert page.locator("#camera").is_visible() is (page.viewport_size["width"] < 600)


def test_a_folder_has_a_case_for_each_folder_in_it(page, photos, tmp_path):
    for place, photo in enumerate(photos[:4]):
        folder = tmp_path / "visits" / ("anna" if place < 2 else "ben")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / photo.name).write_bytes(photo.read_bytes())
    (tmp_path / "visits" / ".DS_Store").write_bytes(b"x")
    page.click("nav a[href='/batch']")
    page.set_input_files("#folder", tmp_path / "visits")
    page.click("form [type=submit]")
    sync_api.expect(page.locator("tbody tr")).to_have_count(2)
    assert page.locator("tbody th button").all_inner_texts() == ["anna", "ben"]


def test_faults_are_told_in_a_sentence_and_the_next_question_is_answered(page, photos, tmp_path):
    page.click("form [type=submit]")
    assert page.inner_text("#problem")
    (tmp_path / "scan.pdf").write_bytes(b"%PDF-1.7" + bytes(100))
    page.set_input_files("#choose", tmp_path / "scan.pdf")
    assert "scan.pdf" in page.inner_text("#problem")
    (tmp_path / "scan.jpg").write_bytes(b"%PDF-1.7" + bytes(100))
    page.set_input_files("#choose", tmp_path / "scan.jpg")
    page.click("form [type=submit]")
    sync_api.expect(page.locator("#problem")).to_contain_text("PDF")
    check(page)
    page.locator("#chosen button").click()
    assert page.locator("#chosen li").count() == 0
    page.set_input_files("#choose", [photos[0]] * 13)
    assert "12" in page.inner_text("#problem")
    page.context.set_offline(True)
    page.set_input_files("#choose", photos[0])
    page.click("form [type=submit]")
    sync_api.expect(page.locator("#problem")).to_be_visible()
    page.context.set_offline(False)
    page.click("form [type=submit]")
    page.wait_for_selector("#answer-title")
    assert page.locator("#problem").is_hidden()


def test_the_keyboard_alone_reaches_everything(page, photos):
    seen = []
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
        outline = page.evaluate(
            "(() => { const one = document.activeElement;"
            " const shown = one.type === 'file' ? one.nextElementSibling : one;"
            " return getComputedStyle(shown).outlineStyle; })()"
        )
        assert outline != "none", seen
        if seen[-1] == "choose":
            break
    assert "choose" in seen
    page.set_input_files("#choose", photos[:1])
    page.focus("form [type=submit]")
    page.keyboard.press("Enter")
    page.wait_for_selector("#answer-title")


def test_the_language_is_changed_by_a_link_and_stays(page):
    other = page.locator(".languages a")
    code = other.get_attribute("hreflang")
    other.click()
    assert page.get_attribute("html", "lang") == code
    page.click("nav a[href='/run']")
    assert page.get_attribute("html", "lang") == code
    check(page)


def test_without_scripts_a_case_is_answered_all_the_same(browser, address, photos):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    page.set_input_files("#choose", photos[:2])
    page.click("form [type=submit]")
    assert page.locator("#answer-title").is_visible()
    assert page.locator("#fade").is_hidden()
    page.goto(f"{address}/batch")
    page.set_input_files("#files", photos[:4])
    page.check("#by-name")
    page.click("form [type=submit]")
    assert page.locator("tbody tr").count() == 2
    assert re.match("data:text/csv", page.get_attribute("#download", "href"))
    context.close()


def test_columns_are_filled_in_and_the_answer_says_so(browser, asking):
    photo = asking.predictor.workdir.parent / "photos" / "0.png"
    with serving(asking) as address:
        for width in (1280, 390):
            context = browser.new_context(viewport={"width": width, "height": 844})
            page = context.new_page()
            page.goto(address)
            check(page)
            page.set_input_files("#choose", photo)
            page.get_by_label("Age", exact=True).fill("old")
            page.click("form [type=submit]")
            age = page.get_by_label("Age", exact=True)
            sync_api.expect(age).to_have_accessible_description("Age must be a number, got “old”.")
            sync_api.expect(age).to_be_focused()
            assert page.locator("[aria-invalid=true]").count() == 1
            assert page.locator("#problem").is_hidden()
            check(page)
            page.get_by_label("Age", exact=True).fill("80")
            page.get_by_label("Sex", exact=True).select_option("male")
            page.click("form [type=submit]")
            page.wait_for_selector("#answer-title")
            assert "Age (80), Sex (male)" in page.inner_text("#result")
            assert page.locator("[aria-invalid]").count() == page.locator(".fault:visible").count() == 0
            check(page)
            age.fill("older")
            page.click("form [type=submit]")
            sync_api.expect(age).to_have_accessible_description("Age must be a number, got “older”.")
            assert page.inner_text("#result") == ""  # no answer that was given with other entries
            page.click("form [type=reset]")
            assert page.locator("[aria-invalid]").count() == page.locator(".fault:visible").count() == 0
            assert page.get_by_label("Age", exact=True).input_value() == ""
            context.close()
