"""`u2a.Classifier` in the hands of scikit-learn's own functions."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit, cross_val_score
from sklearn.utils import get_tags

import u2a


def samples(count: int = 24) -> tuple[list[dict[str, Any]], np.ndarray]:
    """A picture whose brightness, and a text whose word, tell the class; some cells are missing."""
    X, y = [], np.arange(count) % 2
    for i, label in enumerate(y):
        picture = np.full((40, 36, 3), 40 + 150 * label + i % 5, np.uint8)
        one: dict[str, Any] = {"image": picture, "text": f"the {['red', 'old'][label]} boat {i}"}
        if i % 6 in (1, 2):
            one |= {"text": (None, float("nan"))[i % 2]}
        elif i % 6 == 3:
            del one["image"]
        X.append(one)
    return X, np.array([7, 30])[y]


@pytest.fixture
def classifier(checkpoints: dict[str, Path]) -> u2a.Classifier:
    modalities = {name: {"encoder": str(checkpoints[e])} for name, e in (("image", "clip"), ("text", "bert"))}
    sets = ("data.workers=0", "training.device=cpu")
    return u2a.Classifier(modalities, epochs=1, batch_size=4, sets=sets)


def test_parameters_are_scikit_learns(classifier: u2a.Classifier) -> None:
    again = clone(classifier)
    assert again is not classifier
    assert again.get_params() == classifier.get_params()
    assert again.set_params(epochs=3, holdout=None).get_params()["epochs"] == 3
    assert get_tags(classifier).estimator_type == "classifier"
    with pytest.raises(NotFittedError):
        classifier.predict([{"text": "a boat"}])


def test_what_it_learns_scores_and_survives_a_pickle(
    classifier: u2a.Classifier, capsys: pytest.CaptureFixture[str]
) -> None:
    X, y = samples()
    y = np.where(y == 7, "01", "1")  # names, although a manifest's label 01 may be a place
    fitted = classifier.fit(X, y)
    assert fitted is classifier
    assert capsys.readouterr().out == ""
    p_NC = classifier.predict_proba(np.array(X, dtype=object))  # as an array of dicts
    assert classifier.classes_.tolist() == ["01", "1"]
    np.testing.assert_allclose(p_NC.sum(1), 1, atol=1e-6)
    assert (classifier.predict(X) == classifier.classes_[p_NC.argmax(1)]).all()
    assert classifier.score(X, y) == accuracy_score(y, classifier.predict(X)) > 0.8
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_allclose(again.predict_proba(X), p_NC, atol=1e-6)


def test_cross_validation_and_grids(classifier: u2a.Classifier, tmp_path: Path) -> None:
    X, y = samples(12)
    sets = (*classifier.sets, "training.head_start=false")
    quick = classifier.set_params(holdout=None, folder=tmp_path, sets=sets)
    scores = cross_val_score(quick, X, y, cv=2, error_score="raise")
    assert scores.shape == (2,)
    assert np.isfinite(scores).all()
    assert len(list(tmp_path.glob("classifier-*/recipe.toml"))) == 2
    once = StratifiedShuffleSplit(1, test_size=0.5, random_state=0)
    found = GridSearchCV(quick, {"lr": [1e-3, 1e-2]}, cv=once, error_score="raise", refit=False).fit(X, y)
    assert found.best_params_["lr"] in (1e-3, 1e-2)


def test_several_labels_a_sample(classifier: u2a.Classifier) -> None:
    X, y = samples(16)
    several = np.stack([y == 7, np.arange(16) % 4 == 0], 1).astype(int)  # [1, 1] is no multi-hot label
    several[3] = 0
    found = classifier.fit(X, several).predict(X)
    assert found.shape == several.shape
    assert set(np.unique(found)) <= {0, 1}
    assert classifier.predict_proba(X).shape == (16, 2)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda X, y: (X, y[:-1]), "y has 11 labels for 12 samples"),
        (lambda X, y: (X, [None, *y[1:]]), "sample 0 has no label"),
        (lambda X, y: (X, [1] * len(y)), "two classes"),
        (lambda X, y: ([{}, *X[1:]], y), "line 1"),
        (lambda X, y: (tiny.tone(), y), "every sample must be a dict"),
    ],
)
def test_what_cannot_be_learned_from(classifier: u2a.Classifier, change: Any, says: str) -> None:
    with pytest.raises(u2a.U2AError, match=says):
        classifier.fit(*change(*samples(12)))
