"""Scores of captions are the classic toolkit's, and are told with honest denominators."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from topa.core.errors import InputError
from topa.core.install import install_line
from topa.evals import toolkit as java_scores
from topa.evals.captioning import NAMES, score_captions, score_words

from .toolkit import everyday, java_words, needs_java

WORDS = "a man woman is are the in on playing dog guitar ball red café 東京 x".split()  # noqa: SIM905


def invented(seed: int, videos: int, most: int = 8) -> tuple[list[list[str]], list[str]]:
    """Captions of words with a space between two; among them empty, repeating and long ones, and single references."""
    rng = random.Random(seed)

    def caption() -> str:
        kind = rng.random()
        if kind < 0.05:
            return ""
        if kind < 0.1:
            return " ".join([rng.choice(WORDS)] * rng.randint(1, 9))
        return " ".join(rng.choices(WORDS, k=rng.choice((1, 2, 3, 4, 5, 8, 12, 90 if kind < 0.12 else 9))))

    references = [[caption() for _ in range(rng.randint(1, most))] for _ in range(videos)]
    said = [rng.choice(own) if rng.random() < 0.2 else caption() for own in references]
    return references, said


def toolkit(references: list[list[str]], said: list[str]) -> dict[str, tuple[float, list[float]]]:
    """The classic toolkit's values: of all captions, and of each."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    expected, given = dict(enumerate(references)), {n: [caption] for n, caption in enumerate(said)}
    corpus, each = Bleu(4).compute_score(expected, given, verbose=0)
    found = {f"BLEU-{n + 1}": (corpus[n], each[n]) for n in range(4)}
    return found | {
        "ROUGE-L": Rouge().compute_score(expected, given),
        "CIDEr-D": Cider().compute_score(expected, given),
    }


@pytest.mark.parametrize(
    ("seed", "videos", "most"), [(0, 40, 8), (1, 40, 1), (2, 200, 20), (3, 1, 5), (4, 2, 3), (5, 10, 4)]
)
def test_values_are_the_toolkits(seed: int, videos: int, most: int) -> None:
    references, said = invented(seed, videos, most)
    ours, theirs = score_words(references, said), toolkit(references, said)
    assert tuple(ours) == tuple(theirs) == NAMES
    for name, (corpus, each) in theirs.items():
        whole = ours[name].value(ours[name].statistics.sum(axis=0, keepdims=True))[0]
        assert whole == pytest.approx(corpus, abs=1e-6), name
        np.testing.assert_allclose(ours[name].captions, each, atol=1e-6, err_msg=name)


@needs_java
def test_from_captions_to_values_it_is_the_toolkit() -> None:
    rng = random.Random(0)
    references = {f"v{n}": [everyday(rng) for _ in range(rng.randint(1, 5))] for n in range(150)}
    said = {video: rng.choice([everyday(rng), *own]) for video, own in references.items()}
    ours = score_captions(references, said, resamples=10)
    flat = java_words([caption for own in references.values() for caption in own])
    words = [[flat.pop(0) for _ in own] for own in references.values()]
    for name, (corpus, each) in toolkit(words, java_words(list(said.values()))).items():
        assert ours.intervals[name].value == pytest.approx(corpus, abs=1e-6), name
        np.testing.assert_allclose(ours.captions[name], each, atol=1e-6, err_msg=name)


def test_a_video_of_which_nothing_is_said_is_wrong_not_left_out() -> None:
    references = {"a": ["a dog runs fast away", "the dog is running"], "b": ["two cats sleep on a bed"]}
    whole = score_captions(references, {"a": "a dog runs fast away", "b": "two cats sleep on a bed"})
    half = score_captions(references, {"a": "a dog runs fast away"})
    assert half.missing == ("b",)
    for name in NAMES:
        assert half.intervals[name].questions == half.intervals[name].groups == 2
        assert half.captions[name][1] == pytest.approx(0, abs=1e-6)
        assert half.intervals[name].value < whole.intervals[name].value
    assert half.captions["CIDEr-D"][0] == whole.captions["CIDEr-D"][0] > 0  # frequencies are of the references alone
    assert whole.as_json()["BLEU-1"] == {"a": pytest.approx(1), "b": pytest.approx(1)}


def test_document_frequencies_are_of_the_videos_that_are_scored() -> None:
    references = {"a": ["a dog runs fast"], "b": ["a cat sleeps now"], "c": ["a dog sleeps now"]}
    few = {video: references[video] for video in ("a", "b")}
    near = {"a": "a dog walks fast"}
    few_score, all_score = (score_captions(part, near).captions["CIDEr-D"][0] for part in (few, references))
    assert few_score != pytest.approx(all_score)
    assert min(few_score, all_score) > 0


def test_the_order_of_videos_changes_nothing() -> None:
    words, said_words = invented(7, 30)
    references = {f"v{n}": own for n, own in enumerate(words)}
    said = {f"v{n}": caption for n, caption in enumerate(said_words)}
    shuffled = dict(random.Random(1).sample(list(references.items()), 30))
    one, other = score_captions(references, said), score_captions(shuffled, said)
    for name in NAMES:
        assert other.intervals[name].model_dump() == pytest.approx(one.intervals[name].model_dump())


def test_bleus_interval_is_of_summed_counts() -> None:
    """The oracle: BLEU of every resample by the whole computation."""
    words, said = invented(3, 12)
    references = {f"v{n:02}": own for n, own in enumerate(words)}
    found = score_captions(references, dict(zip(references, said, strict=True)), seed=4, resamples=60).intervals
    draws = np.random.default_rng(4).integers(0, 12, size=(60, 12), dtype=np.int32)
    for order in (1, 4):
        name = f"BLEU-{order}"
        values = []
        for draw in draws:
            part = score_words([words[k] for k in draw], [said[k] for k in draw])[name]
            values.append(part.value(part.statistics.sum(axis=0, keepdims=True))[0])
        assert (found[name].low, found[name].high) == pytest.approx(tuple(np.quantile(values, (0.025, 0.975))))
        assert found[name].low < found[name].value < found[name].high


def test_one_video_has_no_interval() -> None:
    found = score_captions({"a": ["a dog"]}, {"a": "a dog"}).intervals
    assert (found["BLEU-1"].low, found["BLEU-1"].high) == (0, 1)
    assert (found["CIDEr-D"].low, found["CIDEr-D"].high) == (0, 10)


@pytest.mark.parametrize(
    ("references", "said", "message"),
    [
        ({}, {}, "captions of no videos"),
        ({"a": []}, {}, "'a' has no list of reference captions"),
        ({"a": "a dog"}, {}, "'a' has no list of reference captions"),
        ({"a": ["a dog"]}, {"b": "a cat"}, "1 videos without references, such as 'b'"),
    ],
)
def test_bad_input_is_answered(references, said, message) -> None:
    with pytest.raises(InputError, match=message):
        score_captions(references, said)


def test_meteor_and_spice_are_never_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    references, said = {"a": ["a dog"]}, {"a": "a dog"}
    found = score_captions(references, said)
    assert found.not_computed.keys() == {"METEOR", "SPICE"}
    assert found.intervals.keys() == found.captions.keys() == set(NAMES)
    monkeypatch.setattr(java_scores.shutil, "which", lambda name: None)
    assert "Java" in score_captions(references, said, java=True).not_computed["METEOR"]
    monkeypatch.setattr(java_scores.importlib.util, "find_spec", lambda name: None)
    assert install_line("coco-eval") in score_captions(references, said, java=True).not_computed["METEOR"]


@needs_java
@pytest.mark.slow
def test_meteor_is_the_toolkits() -> None:
    from pycocoevalcap.meteor.meteor import Meteor

    words, said = invented(1, 25, 4)
    scorer = Meteor()
    expected = scorer.compute_score(dict(enumerate(words)), {n: [caption] for n, caption in enumerate(said)})
    scorer.meteor_p.stdout.close()
    scorer.meteor_p.stderr.close()
    found = java_scores.meteor(words, said)
    assert not isinstance(found, str)
    np.testing.assert_allclose(found.captions, expected[1], atol=1e-6)
    assert found.value(found.statistics.sum(axis=0, keepdims=True))[0] == pytest.approx(expected[0], abs=1e-6)


@needs_java
def test_spice_says_what_it_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(java_scores, "_program", lambda jar: tmp_path / jar)
    assert "get_stanford_models" in str(java_scores.spice([["a dog"]], ["a dog"]))
