"""The studio in a real browser: with a stub for what the page does, and with the demo from a sentence to a file."""

import contextlib
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from studio_stub import StubMaker, served

from motiongpt.studio.maker import Maker
from tests.browser import Browser, find_chromium

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium on the path (or in CHROMIUM)"),
]
DEMO = Path(__file__).resolve().parents[1] / "checkpoints" / "demo"
READY = "document.getElementById('viewer').dataset.state === 'ready'"
MARKUP = "<img src=x onerror=alert(1)> walks & <script>alert(1)</script>"


class PageMaker(StubMaker):
    """With all that the page asks for."""

    def facts(self):
        examples = {"t2m": ["walk", "sit"], "edit": ["faster"], "predict": ["sit"], "m2t": []}
        people = [{"id": who, "style": "upright"} for who in self.participants]
        more = {"seconds": [1, 15], "samples": 4, "largest_seed": 2**31 - 1, "sentences": 8}
        return super().facts() | more | {"participants": people, "examples": examples, "reads": True, "wordless": True}


@pytest.fixture(scope="module")
def browser():
    with Browser(size=(1000, 700), wait=120) as browser:
        yield browser


@pytest.fixture
def page(browser):
    """`page(maker)` opens the studio; afterwards nothing may have gone wrong, or been asked of another place."""
    with contextlib.ExitStack() as stack:

        def page(maker, **bounds):
            client, server = stack.enter_context(served(maker, **bounds))
            browser.open(server.url)
            browser.wait_for("document.querySelectorAll('#tries button').length")
            page.url, page.client = server.url, client
            return browser

        page.refused = 0  # answers that a browser itself calls an error on its console
        yield page
        browser.evaluate("new Promise((done) => setTimeout(done))")  # what was logged last has arrived then
        refusals = [text for text in browser.problems if "the server responded with a status of 4" in text]
        assert browser.errors == [] and browser.problems == refusals and len(refusals) == page.refused
        assert [url for url in browser.requests if not url.removeprefix("blob:").startswith(page.url)] == []


def type_text(browser, text, **fields):
    """Fill the form; `fields` are ids of its inputs."""
    for name, value in {"text": text, **fields}.items():
        browser.evaluate(f"document.getElementById({name!r}).value = {value!r}")


def text_of(browser, selector):
    return browser.evaluate(f"document.querySelector({selector!r}).innerText")


def wait_for_motions(browser, count, shown=None):
    """Until there are so many motions, and number `shown`, or the last one, is seen."""
    seen = f"window.viewer?.captions.textContent.replace('1#', '#').startsWith('#{shown or count} ')"  # 1: a badge
    browser.wait_for(f"document.querySelectorAll('#history li').length === {count} && {READY} && {seen}")


def test_one_motion_after_the_other(page):
    browser = page(PageMaker())
    assert browser.evaluate("[...document.querySelectorAll('[name=task]')].map((one) => one.disabled)") == [
        False, True, True, True]  # fmt: skip
    browser.click("#tries button")
    wait_for_motions(browser, 1)
    assert text_of(browser, "#notes") == "" and text_of(browser, "#facts") == "#1 · 0.3 s · seed 0"
    type_text(browser, MARKUP, seed="2", participant="P002")
    browser.evaluate("document.getElementById('text').focus()")
    browser.press("Enter")
    wait_for_motions(browser, 2)
    assert browser.evaluate("viewer.captions.textContent") == f"#2 {MARKUP}"
    assert text_of(browser, "#history .what") == f"#2 {MARKUP}"
    assert browser.evaluate("document.querySelectorAll('img, body script').length") == 0
    browser.click("#next [data-task=edit]")
    type_text(browser, "faster", samples="2")
    browser.click("#submit")
    wait_for_motions(browser, 4, shown=3)  # both variants, beside each other
    assert browser.evaluate("viewer.figures.length") == 2 and "changed from #2" in text_of(browser, "#facts")
    browser.evaluate("[...document.querySelectorAll('#history .show')].at(-1).click()")
    browser.wait_for("document.getElementById('facts').innerText.startsWith('#1') && viewer.figures.length === 1")
    assert browser.evaluate("document.querySelector('[aria-current=true]').innerText").startswith("#1 walk")
    browser.evaluate("document.querySelector('#history .compare').click()")
    browser.wait_for("viewer.figures.length === 2 && viewer.captions.children.length === 2")
    assert browser.evaluate("viewer.captions.children[1].innerText").endswith("#4 faster")
    browser.click("#next [data-task=m2t]")
    browser.wait_for("document.getElementById('notes').innerText === 'described as: it is walk'")
    browser.evaluate("location.reload()")
    browser.wait_for(f"document.querySelectorAll('#history li').length === 4 && {READY}")


def test_errors_stand_by_their_field_and_go(page):
    page.refused = 2
    browser = page(PageMaker())
    browser.click("#submit")
    browser.wait_for("document.getElementById('text-error').innerText")
    assert text_of(browser, "#text-error") == "There is no sentence: write what the person does."
    assert browser.evaluate("document.activeElement.id + document.activeElement.getAttribute('aria-invalid')") == (
        "texttrue"
    )
    type_text(browser, "walk", seconds="99")
    browser.click("#submit")
    browser.wait_for("document.getElementById('seconds-error').innerText")
    assert text_of(browser, "#text-error") == "" and "1 to 15" in text_of(browser, "#seconds-error")
    type_text(browser, "refused", seconds="")
    browser.click("#submit")
    browser.wait_for("document.getElementById('seconds-error').innerText.includes('too much')")
    type_text(browser, "fault")
    browser.click("#submit")
    browser.wait_for("document.getElementById('form-error').innerText.includes('terminal')")
    assert browser.evaluate("document.getElementById('empty').hidden") is False


def test_the_queue_is_seen_and_cancelled(page):
    maker = PageMaker()
    maker.go.clear()
    browser = page(maker, waiting=1)
    page.refused = 1
    for text in ("first", "second"):
        type_text(browser, text)
        browser.click("#submit")
        browser.wait_for(f"document.getElementById('jobs').innerText.includes({text!r})")
    browser.wait_for("document.querySelector('#jobs progress').value === 0.5")
    browser.wait_for("document.getElementById('jobs').innerText.includes('1 before it')")
    assert "understood: first" in text_of(browser, "#jobs li")
    browser.click("#submit")
    browser.wait_for("document.getElementById('form-error').innerText.includes('waiting already')")
    browser.evaluate("document.querySelectorAll('#jobs button').forEach((button) => button.click())")
    browser.wait_for("document.querySelectorAll('#jobs li').length === 0")
    assert page.client.ask("GET", "/api/state")[1]["motions"] == []


def test_an_answer_that_never_comes_is_said(page):
    browser = page(PageMaker())
    browser.evaluate("window.fetch = () => Promise.reject(new TypeError('network'))")
    type_text(browser, "walk")
    browser.click("#submit")
    browser.wait_for("document.getElementById('form-error').innerText.includes('does not answer')")


def test_every_size_and_theme_has_all_in_reach(page):
    browser = page(PageMaker())
    browser.click("#tries button")
    wait_for_motions(browser, 1)
    for width, height in ((1000, 700), (390, 844), (320, 600)):
        browser.resize(width, height)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        low = browser.evaluate("""[...document.querySelectorAll('button, input, select, textarea')].filter((e) => {
            const box = e.getBoundingClientRect();
            return e.checkVisibility() && (box.left < 0 || box.right > innerWidth || box.width < 8);
        }).map((e) => e.id || e.textContent)""")
        assert low == []
    browser.resize(1000, 700)
    names = browser.evaluate(
        "[...document.querySelectorAll('button, input, select, textarea, canvas')]"
        ".map((e) => (e.getAttribute('aria-label') || e.labels?.[0]?.textContent || e.textContent).trim())"
    )
    assert all(names), names
    for scheme in ("light", "dark"):
        browser.prefer(prefers_color_scheme=scheme)
        pairs = browser.evaluate("""['body', '.hint', '#submit', '.error'].map((selector) => {
            const style = getComputedStyle(document.querySelector(selector));
            let under = document.querySelector(selector);
            while (getComputedStyle(under).backgroundColor === 'rgba(0, 0, 0, 0)') under = under.parentElement;
            return [style.color, getComputedStyle(under).backgroundColor];
        })""")
        for pair in pairs:
            assert contrast(*pair) >= 4.5, (scheme, pair)  # WCAG 2.2, 1.4.3
    browser.prefer()


def contrast(*colours):
    """WCAG 2.2's ratio of two CSS colours, "rgb(1, 2, 3)"."""
    luminances = []
    for colour in colours:
        rgb = np.array([int(value) for value in colour[4:-1].split(",")]) / 255
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        luminances.append(linear @ (0.2126, 0.7152, 0.0722))
    return (max(luminances) + 0.05) / (min(luminances) + 0.05)


def test_the_demo_from_a_sentence_to_a_file(page, tmp_path):
    from motiongpt.generator import MotionGenerator

    demo = MotionGenerator(DEMO)
    maker = Maker(demo, "demo")
    maker.go = threading.Event()  # `served` sets it
    browser = page(maker)
    sentence, change = "a man wlaks ahead", "do it faster"
    type_text(browser, sentence, seed="7", seconds="2")
    browser.click("#submit")
    wait_for_motions(browser, 1)
    expected = demo.generate(sentence, seed=7, seconds=2.0)
    assert text_of(browser, "#notes") == expected.notes[0] and "understood: walk forward" in expected.notes[0]

    browser.evaluate("viewer.pause(), viewer.seek(5), viewer.play()")
    browser.wait_for("Number(document.getElementById('viewer').dataset.frame) > 8")  # it plays
    browser.evaluate("viewer.pause(), viewer.seek(5)")
    assert np.array_equal(browser.evaluate("viewer.positions(0)"), expected.joints[5])

    browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.click("#downloads [aria-label='Download .npy']")
    file, end = tmp_path / "a_man_wlaks_ahead_7.npy", time.monotonic() + 60
    while not file.exists() and time.monotonic() < end:
        browser.evaluate("new Promise((done) => setTimeout(done, 50))")
    assert np.array_equal(np.load(file), expected.joints)

    browser.click("#next [data-task=edit]")
    type_text(browser, change, seconds="")
    browser.click("#submit")
    wait_for_motions(browser, 2)
    state = page.client.ask("GET", "/api/state")[1]
    assert state["motions"][1]["codes"] == demo.edit(expected, change, seed=7).tokens_text
    assert state["motions"][1]["source"] == 1

    browser.evaluate("document.querySelector('[name=task][value=t2m]').click()")
    type_text(browser, "ponies")
    browser.click("#submit")
    browser.wait_for("document.getElementById('text-error').innerText")
    advice = text_of(browser, "#text-error")
    assert "nearest are: 'a person" in advice and "tick the box below" in advice and "--" not in advice
