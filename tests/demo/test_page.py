"""The demo page in a real browser: upload, switch off, examples, phone width, nothing said, nothing fetched."""

from __future__ import annotations

import io
import json
import socket
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import tiny
from PIL import Image
from processes import Python, python

import u2a

pytestmark = pytest.mark.slow
TEXT = "the old sea and two friends"


def _needs_gradio() -> None:
    """Looked for, not imported: it leaves an event loop behind."""
    if find_spec("gradio") is None:
        pytest.skip('gradio is not installed: pip install "u2a[demo]"')


@pytest.fixture(scope="module")
def address(pictures_and_texts: Path) -> Iterator[str]:
    _needs_gradio()
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


INPUTS = """
import json, sys
from types import SimpleNamespace
import gradio as gr
from u2a.plugins.loading import registry
from u2a_demo.page import _input
kinds = [kind for kind in json.loads(sys.argv[1]) if kind in registry().specs]
recipe = SimpleNamespace(plugins=registry(), modalities={kind: SimpleNamespace(kind=kind) for kind in kinds})
with gr.Blocks(analytics_enabled=False):
    made = {kind: _input(SimpleNamespace(recipe=recipe), kind)[0] for kind in kinds}
print(json.dumps({kind: [type(one).__name__, getattr(one, "file_types", None)] for kind, one in made.items()}))
"""


def test_inputs_are_made_from_what_plugins_read() -> None:
    """In a process of its own: gradio leaves an event loop behind."""
    _needs_gradio()
    wanted = {"image": ["Image", None], "text": ["Textbox", None], "audio": ["Audio", None]}
    wanted |= {"video": ["Video", None], "depth": ["File", [".png", ".npy"]], "tabular": ["File", [".json"]]}
    done = python("-c", INPUTS, json.dumps(list(wanted)))
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout.splitlines()[-1])
    assert made == {kind: wanted[kind] for kind in made}
    assert set(made) >= {"image", "text", "audio", "video"}
