"""The blocks of docs/interoperation.md, one after another in one program, on tiny encoders."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tiny
import toys

import u2a

PAGE = (Path(__file__).parents[2] / "docs/interoperation.md").read_text()


@pytest.mark.slow  # three trainings
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_the_page(
    tmp_path: Path,
    checkpoints: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
    assert len(blocks) == len(re.findall(r"^```", PAGE, re.M)) / 2 == 5
    recipe = toys.make(tmp_path, checkpoints)
    monkeypatch.chdir(tmp_path)
    u2a.train(recipe, run="runs/movies", sets=["training.epochs=1"])
    (tmp_path / "posters").mkdir()
    for i in range(8):
        (tmp_path / f"posters/{i}.png").write_bytes(tiny.image_bytes(tiny.picture(seed=i)))
    capsys.readouterr()
    exec(compile("\n".join(blocks), "interoperation.md", "exec"), {})
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("Branch(text: BertModel, ")
    assert said[1] == "torch.Size([2, 32]) torch.Size([2, 32]) torch.Size([2, 1, 32])"
    assert said[2] == "(2, 32) float32"
