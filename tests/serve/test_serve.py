"""``u2a serve`` as a process, asked over HTTP: its answers, its refusals, its end."""

from __future__ import annotations

import base64
import json
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from asking import Asked, answer_of, form, serving
from click.testing import CliRunner

import u2a
from u2a.cli.main import main
from u2a.evaluation.trained import Model
from u2a_serve import bodies, server
from u2a_serve.command import read_token

PICTURE = tiny.image_bytes(tiny.picture(44, 40, 3))
TOKEN = "a-token-of-many-letters"


@pytest.fixture(scope="module")
def service(run: Path) -> Iterator[Asked]:
    with serving(
        run, "--max-samples", 8, "--max-body", 0.5, "--max-text", 2000, "--max-pixels", 50_000
    ) as made:
        yield made


@pytest.fixture(scope="module")
def model(run: Path) -> Model:
    return u2a.load(run, sets=["training.device=cpu"])


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def assert_same(answered: dict[str, Any], expected: u2a.Prediction, top: int | None = None) -> None:
    wanted = expected.as_dict(top)
    assert {k: v for k, v in answered.items() if k != "probabilities"} == {
        k: v for k, v in wanted.items() if k != "probabilities"
    }
    assert answered["probabilities"] == pytest.approx(wanted["probabilities"], abs=3e-6)
    assert list(answered["probabilities"]) == list(wanted["probabilities"])


def test_answers_are_those_of_predict(service: Asked, model: Model) -> None:
    samples = [
        {"image": PICTURE, "text": "the old sea"},
        {"text": "toys.toml"},  # a text, whatever file is called so
        {"image": PICTURE},
        {"text": "two friends and a boat"},
    ]
    expected = model.predict(samples, coverage=0.8)
    plain = [{k: base64_of(v) if isinstance(v, bytes) else v for k, v in one.items()} for one in samples]
    status, answer = service.predict({"samples": plain}, "?coverage=0.8&top=3")
    assert (status, len(answer["predictions"])) == (200, 4)
    for found, wanted in zip(answer["predictions"], expected, strict=True):
        assert "set" in found
        assert_same(found, wanted, 3)
    parts = {f"{i}.{name}": value for i, one in enumerate(samples) for name, value in one.items()}
    status, answer = service.upload(parts, "?coverage=0.8")
    assert status == 200
    for found, wanted in zip(answer["predictions"], expected, strict=True):
        assert_same(found, wanted)
    status, answer = service.upload(samples[0])
    assert_same(answer["predictions"][0], model.predict(samples[0]))


def test_values_may_come_in_every_form(service: Asked, model: Model) -> None:
    pixels = [[[0.8, 0.1, 0.2]] * 40] * 36
    lines = "\n".join(base64.encodebytes(PICTURE).decode().split())
    of_urls = base64.urlsafe_b64encode(PICTURE).decode().rstrip("=")
    for given in (
        lines,
        of_urls,
        f"data:image/png;base64,{base64_of(PICTURE)}",
        {"base64": base64_of(PICTURE)},
    ):
        status, answer = service.predict({"sample": {"image": given, "text": None}})
        assert status == 200, answer
        assert_same(answer["predictions"][0], model.predict({"image": PICTURE}))
    status, answer = service.predict({"sample": {"image": {"value": pixels}}})
    assert_same(answer["predictions"][0], model.predict({"image": np.array(pixels)}))
    status, answer = service.predict({"sample": {"text": {"base64": base64_of("the sea".encode("utf-16"))}}})
    assert_same(answer["predictions"][0], model.predict({"text": "the sea"}))
    # Of a form, a field that was left empty and a file that was not chosen are missing.
    body, kind = form({"text": "", "image": PICTURE})
    unchosen = body.replace(b'name="text"', b'name="text"; filename=""')
    for one in (body, unchosen):
        status, answer, _ = service.ask("/predict", one, content_type=kind)
        assert (status, answer["predictions"][0]["filled"]) == (200, ["text"])


def test_what_is_bad_is_named_and_the_others_are_answered(service: Asked, run: Path) -> None:
    secret = run.parent / "manifest.jsonl"
    samples = [
        {"text": "the sea"},
        {"image": base64_of(PICTURE[:200]), "text": ""},
        {"film": "x"},
        {},
        {"image": str(secret)},
        {"image_path": str(secret)},
        {"text": "the boat", "image": base64_of(PICTURE)},
    ]
    status, answer = service.predict({"samples": samples})
    assert status == 422
    assert [one is not None for one in answer["predictions"]] == [True, *[False] * 5, True]
    named = [(one["sample"], one["modality"]) for one in answer["errors"]]
    assert named == [(1, "image"), (1, "text"), (2, "film"), (3, None), (4, "image"), (5, "image_path")]
    messages = [one["message"] for one in answer["errors"]]
    assert messages[1] == "text is empty"
    assert messages[2] == "no such modality; this run has image, text"
    assert messages[3] == "give at least one of image, text"
    assert "is no base64; of a file, send its bytes" in messages[4]
    assert str(run) not in json.dumps(answer["predictions"])


def png_header(width: int, height: int) -> bytes:
    """A PNG that says how large it is and holds no pixel."""
    parts = {b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT": b""}
    chunks = [
        struct.pack(">I", len(v)) + k + v + struct.pack(">I", zlib.crc32(k + v)) for k, v in parts.items()
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_limits_are_held_before_anything_is_decoded(service: Asked) -> None:
    for size in ((300, 200), (60_000, 60_000)):
        status, answer = service.predict({"sample": {"image": base64_of(png_header(*size))}})
        assert (status, answer["errors"][0]["modality"]) == (422, "image")
        assert "50000" in answer["errors"][0]["message"]
    status, answer = service.predict({"sample": {"text": "a" * 2001}})
    assert answer["errors"][0]["message"] == "a text of 2001 characters; at most 2000 are allowed"
    assert service.predict({"sample": {"text": "é" * 2000}})[0] == 200
    assert service.predict({"samples": [{"text": "a"}] * 9})[0] == 413
    assert service.upload({"9.text": "a"})[0] == 413
    status, answer, _ = service.ask("/predict", b" " * 600_000, content_type="application/json")
    assert (status, answer["errors"][0]["message"]) == (
        413,
        "the body is larger than 524288 bytes, which is the limit",
    )
    assert service.ask("/predict", b"x", content_type="application/json", content_encoding="gzip")[0] == 415


BODIES: dict[str, tuple[bytes, str, int]] = {
    "nothing": (b"", "application/json", 400),
    "half": (b'{"sample": {"text": "a', "application/json", 400),
    "deep": (b"[" * 100_000, "application/json", 400),
    "no object": (b"5", "application/json", 422),
    "not a number": (b'{"sample": {"text": NaN}}', "application/json", 400),
    "twice": (b'{"sample": {"text": "a", "text": "b"}}', "application/json", 400),
    "no text": (b'{"sample": {"text": "\xff\xfe"}}', "application/json", 400),
    "surrogate": (b'{"sample": {"text": "\\ud800"}}', "application/json", 422),
    "huge number": (b'{"sample": {"text": ' + b"9" * 5000 + b"}}", "application/json", 400),
    "no sample": (b'{"samples": []}', "application/json", 422),
    "a list": (b'{"samples": [[], 5]}', "application/json", 422),
    "both": (b'{"sample": {}, "samples": []}', "application/json", 422),
    "of another kind": (b"text=a", "application/x-www-form-urlencoded", 415),
    "no boundary": (b"--x\r\n", "multipart/form-data", 400),
    "other boundary": (form({"text": "a"})[0], "multipart/form-data; boundary=x", 400),
    "cut off": (form({"text": "a"})[0][:-6], form({"text": "a"})[1], 400),
    "no parts": (b"--x--\r\n", "multipart/form-data; boundary=x", 422),
    "many parts": (
        b"--x\r\nContent-Disposition: form-data; name=t\r\n\r\na\r\n" * 5000 + b"--x--",
        "multipart/form-data; boundary=x",
        413,
    ),
    "no name": (b"--x\r\nContent-Type: a/b\r\n\r\na\r\n--x--", "multipart/form-data; boundary=x", 400),
    "large header": (
        b"--x\r\nA: " + b"b" * 50_000 + b"\r\n\r\na\r\n--x--",
        "multipart/form-data; boundary=x",
        400,
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_hostile_body_is_refused_by_name(service: Asked, name: str) -> None:
    body, kind, wanted = BODIES[name]
    if name == "cut off":
        body, kind = form({"text": "a"})
        body = body[:-6]
    status, answer, _ = service.ask("/predict", body, content_type=kind)
    assert status == wanted, answer
    assert answer["errors"][0]["message"]
    assert service.predict({"sample": {"text": "the sea"}})[0] == 200


def test_json_of_many_values_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MOST_VALUES", 10)
    with pytest.raises(bodies.Refused) as refused:
        bodies.parse(b'{"samples": [' + b"{}," * 11 + b"{}]}", "application/json", bodies.Limits())
    assert refused.value.status == 413


def test_other_addresses(service: Asked, run: Path) -> None:
    assert service.ask("/health")[:2] == (200, {"status": "alive"})
    service.wait_ready()
    assert service.ask("/ready")[:2] == (200, {"status": "ready"})
    assert service.ask("/predict")[0] == 405
    status, answer, _ = service.ask("/nothing")
    assert (status, answer["errors"][0]["message"]) == (404, "Not Found")
    about = service.ask("/model")[1]
    assert about["classes"] == list(toys_words())
    assert about["modalities"]["text"] == {"kind": "text", "extensions": ["txt"], "text": True}
    assert about["calibrated"] is True
    assert set(about["scores"]["validation"]) >= {"accuracy", "f1_macro"}
    assert about["recipe"]["training"]["epochs"] == 1
    assert about["versions"]["libraries"]["torch"]
    text = service.ask("/metrics")[1].decode()
    counts = {line.split()[0]: float(line.split()[1]) for line in text.splitlines() if line[0] != "#"}
    assert counts['u2a_requests_total{path="/predict",status="405"}'] == 1
    assert counts['u2a_requests_total{path="other",status="404"}'] == 1
    assert counts["u2a_samples_inside"] == 0
    assert counts["u2a_body_bytes_inside"] == 0
    assert counts["process_open_fds"] > 0


def toys_words() -> tuple[str, ...]:
    from toys import WORDS

    return WORDS


def test_the_documents_examples_work(service: Asked) -> None:
    document = service.ask("/openapi.json")[1]
    content = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    examples = content["application/json"]["examples"]
    assert set(examples["all"]["value"]["sample"]) == {"image", "text"}
    for example in examples.values():
        assert service.predict(example["value"])[0] == 200
    assert set(content["multipart/form-data"]["schema"]["properties"]) == {"image", "text"}
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(examples["each"]["value"], content["application/json"]["schema"])


def test_scores_by_pattern_are_those_of_the_report(run: Path, model: Model) -> None:
    from u2a_serve.about import of_model

    assert of_model(model)["scores"]["by_pattern"] is None
    rows = [{"missing": ["image"], "n": 4, "scores": {"accuracy": 0.5}}]
    report = {"step": model.meta["step"], "data": {"split": "test"}, "patterns": rows}
    (run / "report").mkdir()
    (run / "report/report.json").write_text(json.dumps(report))
    found = of_model(model)["scores"]["by_pattern"]
    assert found == {"split": "test", "patterns": {"text": {"n": 4, "accuracy": 0.5}}}
    (run / "report/report.json").write_text(json.dumps(report | {"step": -1}))  # of another checkpoint
    assert of_model(model)["scores"]["by_pattern"] is None


def test_a_token_overload_and_the_end(run: Path, tmp_path: Path) -> None:
    """One place in the service: whoever comes second is told when to come again; SIGTERM finishes the first."""
    (tmp_path / "token").write_text(f"{TOKEN}\n", encoding="utf-16")  # as PowerShell writes it
    document = json.dumps({"sample": {"text": "the sea"}}).encode()
    with serving(run, "--token-file", tmp_path / "token", "--max-waiting", 1, "--max-samples", 1) as service:
        for given in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"}):
            status, answer, headers = service.ask(
                "/predict", document, content_type="application/json", **given
            )
            assert (status, headers["www-authenticate"]) == (401, "Bearer")
        assert service.ask("/model")[0] == service.ask("/metrics")[0] == service.ask("/openapi.json")[0] == 401
        service.wait_ready()
        assert service.ask("/health")[0] == service.ask("/ready")[0] == 200
        right = {"authorization": f"Bearer {TOKEN}"}
        security = service.ask("/openapi.json", **right)[1]["paths"]["/predict"]["post"]["security"]
        assert security == [{"token": []}]
        assert service.predict({"sample": {"text": "the sea"}}, **right)[0] == 200

        first = service.begin(document[:10], len(document), **right)
        while not _inside(service, right):
            pass
        status, answer, headers = service.ask("/predict", document, content_type="application/json", **right)
        assert (status, headers["retry-after"]) == (503, "1")
        assert answer["errors"][0]["message"] == "too many requests at once; try again later"

        ending = threading.Thread(target=service.stop)
        ending.start()
        while service._listens():  # nobody else comes in
            pass
        first.send(document[10:])
        assert answer_of(first)[0] == 200
        ending.join()
    assert service.process.poll() == 0


def _inside(service: Asked, right: dict[str, str]) -> bool:
    return b"u2a_samples_inside 1.0" in service.ask("/metrics", **right)[1]


def test_who_sends_no_header_is_hung_up(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.3)
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.3)
    with serving(run) as service:
        for start in (b"", b"POST /predict HTTP/1.1\r\nHost: a\r\n"):
            with socket.create_connection(("127.0.0.1", service.port), timeout=60) as silent:
                silent.sendall(start)
                assert silent.recv(100) == b""
        slow = service.begin(b"{", 100)
        assert answer_of(slow)[0] == 408


def test_mistakes_of_the_command_are_one_line(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(*words: object) -> str:
        result = CliRunner().invoke(main, ["serve", *map(str, words)])
        assert result.exit_code == 2, result.output
        assert result.stderr.count("\n") == 1
        return result.stderr

    (tmp_path / "short").write_text("abc\n")
    assert "a token has at least 8 printable characters" in said(run, "--token-file", tmp_path / "short")
    assert "cannot be read: No such file" in said(run, "--token-file", tmp_path / "none")
    assert "not a run folder" in said(tmp_path, "--port", 0)
    assert "--max-samples 9: must not exceed --max-waiting 3" in said(
        run, "--max-samples", 9, "--max-waiting", 3
    )
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "cannot listen there: Address already in use" in said(run, "--port", taken.getsockname()[1])
    monkeypatch.setenv("U2A_SERVE_TOKEN", "two words")
    assert "U2A_SERVE_TOKEN: a token has at least 8 printable characters" in said(run)
    monkeypatch.setenv("U2A_SERVE_TOKEN", f" {TOKEN}\n")
    assert read_token(None) == TOKEN
    monkeypatch.setattr("u2a_serve.command._NEEDED", ("no_such_library",))
    assert said(run) == 'error: serve: no_such_library is not installed; pip install "u2a[serve]"\n'
