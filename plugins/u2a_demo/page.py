"""The page: an input and a switch for each modality, and beside them what the model says."""

from __future__ import annotations

import os
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # nothing is told to anybody

import gradio as gr

from u2a.errors import U2AError
from u2a_demo.examples import Examples
from u2a_demo.markup import STYLE, markup
from u2a_demo.sample import Sample, read, show

if TYPE_CHECKING:
    from u2a.evaluation.trained import Model

_SYSTEM_FONT = ("system-ui", "sans-serif")


def _picture(**how: Any) -> gr.Image:
    """A picture whose file is read as it was given: gradio's own would write it anew, without its rotation.

    No class of its own: gradio writes a file beside every module that has one.
    """
    picture = gr.Image(sources=["upload", "webcam", "clipboard"], image_mode=None, type="filepath", **how)
    usual = picture.preprocess

    def as_given(payload: Any) -> Any:
        return usual(payload) if payload is None or not payload.path else payload.path

    picture.preprocess = as_given  # type: ignore[method-assign]
    return picture


def build(model: Model, examples: Examples) -> gr.Blocks:
    """The page of a run."""
    names = model.network.names
    with gr.Blocks(title=f"u2a: {model.recipe.name}", analytics_enabled=False) as page:
        gr.HTML(_head(model), elem_id="u2a-head")
        chosen = _gallery(examples)
        with gr.Row():
            with gr.Column(min_width=320):
                pairs = [_input(model, name) for name in names]
                inputs, switches = [one for one, _ in pairs], [switch for _, switch in pairs]
            with gr.Column(min_width=320):
                seen = gr.HTML(markup(None), elem_id="u2a-seen", container=False)
        _connect(model, examples, inputs, switches, chosen, seen)
    return page


def _head(model: Model) -> str:
    task, names = model.recipe.task, escape(", ".join(model.network.names))
    does = "names one of" if task.kind == "single_label" else "says which fit of"
    return (
        f"<h1>{escape(model.recipe.name)}</h1><p>Give any of {names}: the model {does} {len(task.classes)} "
        "classes, and goes on where something is missing or switched off.</p>"
    )


def _input(model: Model, name: str) -> tuple[Any, gr.Checkbox]:
    """A modality's input, by what its plugin reads, and its switch."""
    extensions = model.recipe.plugins.spec(model.recipe.modalities[name].kind).extensions
    with gr.Group(elem_classes="u2a-input"):
        switch = gr.Checkbox(True, label=f"use {name}", elem_id=f"u2a-use-{name}")
        how: dict[str, Any] = {"elem_id": f"u2a-{name}"}
        if "txt" in extensions:
            return gr.Textbox(lines=2, label=f"{name}: a text", **how), switch
        if "png" in extensions and "npy" not in extensions:
            return _picture(height=240, label=f"{name}: a picture", **how), switch
        if "wav" in extensions:
            how |= {"editable": False, "type": "filepath"}
            return gr.Audio(sources=["upload", "microphone"], label=f"{name}: a sound", **how), switch
        if "mp4" in extensions:
            how |= {"webcam_options": gr.WebcamOptions(mirror=False)}
            return gr.Video(sources=["upload", "webcam"], label=f"{name}: a clip", **how), switch
        types = [f".{one}" for one in extensions]
        return gr.File(file_types=types, height=120, label=f"{name}: a file", **how), switch


def _gallery(examples: Examples) -> gr.Dataset | None:
    if not examples.samples:
        return None
    labels = [f"{', '.join(one.truth) or 'no label'} ({one.key})" for one in examples.samples]
    return gr.Dataset(
        label="Examples, with their true label",
        components=[gr.Textbox(visible=False)],
        samples=[[label] for label in labels],
        sample_labels=labels,
        type="index",
        elem_id="u2a-examples",
    )


def _connect(
    model: Model,
    examples: Examples,
    inputs: list[Any],
    switches: list[gr.Checkbox],
    chosen: gr.Dataset | None,
    seen: gr.HTML,
) -> None:
    names, sample = model.network.names, gr.State(Sample())

    def given(old: Sample, *values: Any) -> tuple[Sample, str]:
        new = read(model, dict(zip(names, values[: len(names)], strict=True)), before=old)
        return new, show(model, new, values[len(names) :])

    def switched(old: Sample, *values: bool) -> str:
        return show(model, old, values)

    def loaded(place: int, *values: bool) -> list[Any]:
        one = examples.samples[place]
        new = read(model, one.values, one.truth)
        return [*(one.values.get(name) for name in names), new, show(model, new, values)]

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal"}
    # Also where an example fills them: then it is what was read already.
    gr.on(
        [one.change for one in inputs],
        given,
        [sample, *inputs, *switches],
        [sample, seen],
        trigger_mode="always_last",
        **quiet,
    )
    gr.on([one.input for one in switches], switched, [sample, *switches], seen, **quiet)
    if chosen is not None:
        chosen.click(loaded, [chosen, *switches], [*inputs, sample, seen], **quiet)


def launch(
    model: Model,
    examples: Examples,
    host: str,
    port: int,
    in_browser: bool,
    told: Callable[[str], None],
) -> None:
    """Show the page until somebody ends it.

    Raises:
        U2AError: the address is taken.
    """
    page = build(model, examples)
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            inbrowser=in_browser,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            ssr_mode=False,
            max_file_size="64mb",
            footer_links=[],
            allowed_paths=[examples.folder] if examples.folder else [],
            theme=gr.themes.Default(font=_SYSTEM_FONT, font_mono=("monospace",), primary_hue="teal"),
            css=STYLE,
        )
    except OSError as error:
        raise U2AError(f"{host}:{port}: cannot listen there: {error}; choose another --port") from None
    told(address)
    try:
        page.block_thread()
    finally:
        page.close()
