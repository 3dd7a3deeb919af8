"""The reason that most failures of a run share."""

from __future__ import annotations

from topa.core.failures import all_failed, nameless


def test_names_are_not_part_of_a_reason() -> None:
    assert nameless("/far/a b.mp4: found an empty file", ["/far/a b.mp4", "a b.mp4"]) == "found an empty file"
    assert nameless("the video is missing: /far/a.mp4", ["a.mp4", "/far/a.mp4", ""]) == "the video is missing: …"
    assert nameless("a.mp4x: no", ["a.mp4"]) == "a.mp4x: no"
    assert nameless("no", []) == "no"


def test_the_commonest_reason_is_told_with_its_count() -> None:
    failures = [("x.mp4", "it is odd"), *((f"{n}.mp4", "found an empty file; expected a video.") for n in range(3))]
    message = all_failed("index", "files", failures, "The rest is there.")
    assert message.exit_code == 1
    assert str(message) == (
        "index: all 4 files failed; the commonest reason, of 3 of them (such as 0.mp4): found an empty file; "
        "expected a video. The rest is there."
    )
    assert ", of all of them (such as x.mp4): it is odd. X." in str(all_failed("index", "files", failures[:1], "X."))
