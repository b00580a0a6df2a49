"""The demo page in a real browser: upload, switch off, examples, phone width, nothing said, nothing fetched."""

from __future__ import annotations

import io
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
from PIL import Image
from processes import Python

import u2a
from u2a.plugins.loading import registry

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
TEXT = "the old sea and two friends"


@pytest.fixture(scope="module")
def address(pictures_and_texts: Path) -> Iterator[str]:
    pytest.importorskip("gradio", reason='gradio is not installed: pip install "u2a[demo]"')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = Python("-m", "u2a", "demo", pictures_and_texts, "--port", port, "--set", "training.device=cpu")
    last = time.monotonic() + 120
    while True:
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert process.poll() is None, process.wait()
        assert time.monotonic() < last
        time.sleep(0.1)
    yield f"http://127.0.0.1:{port}/"
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(params=[1440, 390])
def page(browser: Any, address: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The opened page; afterwards, what it said on the console and what it asked for are checked."""
    context = browser.new_context(viewport={"width": request.param, "height": 1000})
    opened, said, asked = context.new_page(), [], []
    opened.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(address)
    opened.wait_for_selector("#u2a-examples button")
    yield opened
    assert opened.evaluate("document.documentElement.scrollWidth") == request.param
    context.close()
    assert said == []
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []


def label_and_bars(page: Any) -> tuple[str, str]:
    return page.inner_text("#u2a-label"), page.inner_text("#u2a-seen .number >> nth=0")


def says(page: Any, prediction: u2a.Prediction, said: str) -> None:
    """Wait until the page says it, and hold the first bar against the prediction."""
    page.wait_for_function("said => document.querySelector('#u2a-seen').innerText.includes(said)", arg=said)
    best, p = next(iter(prediction.probabilities.items()))
    assert label_and_bars(page) == (best, f"{p:.1%}")


def test_upload_switch_off_and_on_again(page: Any, pictures_and_texts: Path, tmp_path: Path) -> None:
    model = u2a.load(pictures_and_texts, sets=["training.device=cpu"])
    exif = Image.Exif()
    exif[0x0112] = 6  # held sideways: a page that writes the picture anew would lose it
    picture = tmp_path / "a photo.jpg"
    picture.write_bytes(tiny.image_bytes(tiny.picture(60, 40, 3), "JPEG", exif=exif))
    page.set_input_files("#u2a-image input[type=file]", str(picture))
    says(page, model.predict({"image": picture}), "image stands in for text")
    page.fill("#u2a-text textarea", TEXT)
    both = model.predict({"image": picture, "text": TEXT})
    says(page, both, "nothing has to be stood in for")
    page.click("#u2a-use-image input")
    alone = model.predict({"text": TEXT})
    says(page, alone, "text stands in for image")
    assert alone.probabilities != both.probabilities
    page.click("#u2a-use-text input")
    page.wait_for_function("document.querySelector('#u2a-seen').innerText.includes('Give at least one')")
    page.click("#u2a-use-text input")
    page.click("#u2a-use-image input")
    says(page, both, "nothing has to be stood in for")
    assert page.locator("#u2a-seen tbody tr").count() == 3


def test_examples_have_their_true_label_until_they_are_changed(page: Any) -> None:
    page.click("#u2a-examples button >> nth=0")
    page.wait_for_selector("#u2a-seen :text('True label')")
    assert "sea" in page.input_value("#u2a-text textarea")
    page.fill("#u2a-text textarea", "something else")
    page.wait_for_function("!document.querySelector('#u2a-seen').innerText.includes('True label')")


def test_a_file_that_is_none_is_told(page: Any, tmp_path: Path) -> None:
    empty = io.BytesIO()
    Image.new("RGB", (8, 8)).save(empty, "PNG")
    (tmp_path / "cut.png").write_bytes(empty.getvalue()[:40])
    page.set_input_files("#u2a-image input[type=file]", str(tmp_path / "cut.png"))
    page.wait_for_function("document.querySelector('#u2a-seen').innerText.includes('image: ')")


def test_inputs_are_made_from_what_plugins_read() -> None:
    gr = pytest.importorskip("gradio")
    from u2a_demo.page import _input

    plugins = registry()
    wanted = {"image": "Image", "text": "Textbox", "audio": "Audio", "video": "Video"}
    wanted |= {kind: "File" for kind in ("depth", "tabular", "features") if kind in plugins.specs}
    recipe = SimpleNamespace(plugins=plugins, modalities={kind: SimpleNamespace(kind=kind) for kind in wanted})
    with gr.Blocks(analytics_enabled=False):
        made = {kind: _input(SimpleNamespace(recipe=recipe), kind)[0] for kind in wanted}
    assert {kind: type(one).__name__ for kind, one in made.items()} == wanted
    if "tabular" in made:
        assert made["tabular"].file_types == [".json"]
