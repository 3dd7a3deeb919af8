"""A run that pays for nothing stops, whoever writes and however often it is started."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from topa.tideos.batch_endpoint import BatchEndpoint
from topa.tideos.collect import generate_set
from topa.tideos.endpoint import Endpoint
from topa.tideos.flow import GenerationLimits, GenerationOutcome
from topa.tideos.ledger import Verdict
from topa.tideos.rejections import SAME_TEXT, count_rejections
from topa.tideos.seeds import Seed
from topa.tideos.writer_prompt import WriterPrompt, reply_schema
from topa.tideos.writers import Transient

from .batches import Provider, providing, well
from .replies import good_reply
from .servers import completion, faults, good, is_probe, of_kinds, send, serving

FACTORY = of_kinds("ppe", "hazard", "rule")
KINDS = "descriptive, temporal, causal, counting, intention"
REASON = f"content: questions.kind: found 'hazard', 'ppe', 'rule'; expected {KINDS}"


def write(url: str, out: Path, count: int = 200, *, batch: bool = False, **limits: Any) -> GenerationOutcome:
    seeds = [Seed(id=f"s{n}", kind="own", text=f"<{n}>") for n in range(count)]
    writer = (BatchEndpoint if batch else Endpoint)(url, "m", schema=reply_schema())
    limits = {"backoff": 0.01, "poll": 0.01, **limits}
    return generate_set(
        seeds, out, writer, prompt=WriterPrompt("About {seed}."), limits=GenerationLimits(**limits), show=False
    )


def paid(requests: list[dict[str, Any]]) -> int:
    return sum(not is_probe(request) for request in requests)


def constant(handler: Any, request: dict[str, Any]) -> None:
    send(handler, 200, completion(json.dumps({"ready": True} if is_probe(request) else good_reply())))


def in_greek(handler: Any, request: dict[str, Any]) -> None:
    reply = good_reply()
    reply["frames"] = [{"caption": "ένας άνθρωπος με κράνος", "objects": ["ένα κράνος"]}] * 5
    send(handler, 200, completion(json.dumps({"ready": True} if is_probe(request) else reply)))


def verdicts(*problems: str | None) -> list[Verdict]:
    return [Verdict(problem, None if problem else str(n)) for n, problem in enumerate(problems)]


def test_nine_of_ten_of_twenty_to_a_hundred_are_too_many() -> None:
    bad, fine = ("a",), (None,)
    assert not count_rejections(verdicts(*bad * 19)).excessive
    assert count_rejections(verdicts(*bad * 20)).excessive
    assert count_rejections(verdicts(*bad * 18, *fine * 2)).excessive
    assert not count_rejections(verdicts(*bad * 17, *fine * 3)).excessive
    assert not count_rejections(verdicts(*bad * 89, *fine * 11)).excessive
    assert count_rejections(verdicts(*bad * 60, "b", *bad * 29, *fine * 10)).reasons == {"a": 89, "b": 1}


def test_of_one_text_the_first_counts() -> None:
    same = count_rejections([Verdict(None, "x"), Verdict(None, "y"), Verdict(None, "x"), Verdict(None, "x")])
    assert (same.replies, same.reasons) == (4, {SAME_TEXT: 2})


@pytest.mark.parametrize("concurrency", [1, 8, 64])
def test_it_stops_after_twenty_replies_and_again_at_once(tmp_path: Path, concurrency: int) -> None:
    with serving(FACTORY) as (url, log):
        outcome = write(url, tmp_path, concurrency=concurrency)
        assert outcome.stopped == "rejections"
        assert paid(log.requests) == 20
        assert outcome.rejections is not None
        assert (outcome.rejections.replies, outcome.rejections.reasons) == (20, {REASON: 20})
        assert outcome.rejections.seed.startswith("s")
        assert outcome.rejections.problem == REASON.removeprefix("content: ")
        assert outcome.spent.tokens == 20 * 150
        assert not (tmp_path / "manifest.json").exists()
        requests = len(log.requests)
        again = write(url, tmp_path, concurrency=concurrency)
        assert (again.stopped, again.rejections) == ("rejections", outcome.rejections)
        assert len(log.requests) == requests  # not even a probe


def test_it_goes_on_when_told_and_watches_again_afterwards(tmp_path: Path) -> None:
    with serving(FACTORY) as (url, log):
        write(url, tmp_path)
        outcome = write(url, tmp_path, 30, accept_rejections=True)
        assert (outcome.stopped, outcome.rejected, outcome.left) == (None, 30, 0)
        assert paid(log.requests) == 60
    with serving(good) as (url, log):
        assert write(url, tmp_path, 60).stopped == "rejections"
        assert paid(log.requests) == 0
        assert write(url, tmp_path, 60, accept_rejections=True).accepted == 30
        assert write(url, tmp_path, 100).accepted == 70  # the latest replies are good ones


def test_of_any_hundred_too_and_what_is_in_flight_is_kept(tmp_path: Path) -> None:
    with serving(faults([good] * 30, FACTORY)) as (url, log):
        outcome = write(url, tmp_path, 400, concurrency=16)
    assert (outcome.stopped, outcome.accepted) == ("rejections", 30)
    assert 120 <= paid(log.requests) <= 120 + 15
    assert outcome.spent.tokens == 150 * paid(log.requests)


def test_replies_that_a_repair_mends_stop_nothing(tmp_path: Path) -> None:
    def worse_at_first(handler: Any, request: dict[str, Any]) -> None:
        (good if is_probe(request) or len(request["messages"]) > 1 else FACTORY)(handler, request)

    with serving(worse_at_first) as (url, _):
        assert write(url, tmp_path, 40).accepted == 40


@pytest.mark.parametrize(("writer", "reason"), [(constant, SAME_TEXT), (in_greek, "left out: in another script")])
def test_replies_of_which_the_set_keeps_nothing_count(tmp_path: Path, writer: Any, reason: str) -> None:
    with serving(writer) as (url, log):
        outcome = write(url, tmp_path)
    assert outcome.stopped == "rejections"
    assert paid(log.requests) == 20
    assert outcome.rejections is not None
    assert set(outcome.rejections.reasons) == {reason}


def test_errors_of_the_endpoint_are_no_rejections(tmp_path: Path) -> None:
    def busy(handler: Any, _: dict[str, Any]) -> None:
        send(handler, 500, b"busy")

    with serving(faults([busy, busy, good] * 25)) as (url, _):
        assert write(url, tmp_path, 22, concurrency=1).accepted == 22


def test_runs_of_one_folder_count_together(tmp_path: Path) -> None:
    with serving(FACTORY) as (url, log):
        assert write(url, tmp_path, 8, repairs=0).stopped is None
        assert write(url, tmp_path, 200, repairs=0).stopped == "rejections"
        assert paid(log.requests) == 20
        assert write(url, tmp_path / "other", 8, repairs=0).stopped is None


def test_two_runs_at_a_time_count_together(tmp_path: Path) -> None:
    with serving(FACTORY) as (url, log):
        runs = [threading.Thread(target=write, args=(url, tmp_path), kwargs={"concurrency": 1}) for _ in range(2)]
        for run in runs:
            run.start()
        for run in runs:
            run.join(60)
        assert 20 <= paid(log.requests) <= 22  # each may have one in flight
        assert write(url, tmp_path).stopped == "rejections"


RUN = """
import sys
from pathlib import Path
from topa.tideos.writer_prompt import WriterPrompt, reply_schema
from topa.tideos.endpoint import Endpoint
from topa.tideos.flow import GenerationLimits
from topa.tideos.collect import generate_set
from topa.tideos.seeds import Seed
from topa.tideos.writers import Transient
seeds = [Seed(id=f"s{n}", kind="own", text=f"<{n}>") for n in range(200)]
writer = Endpoint(sys.argv[1], "m", schema=reply_schema())
limits = GenerationLimits(concurrency=2)
generate_set(seeds, Path(sys.argv[2]), writer, prompt=WriterPrompt("About {seed}."), limits=limits, show=False)
"""


def test_a_killed_run_starts_no_new_count(tmp_path: Path) -> None:
    inside, end = threading.Event(), threading.Event()

    def hang(handler: Any, request: dict[str, Any]) -> None:
        inside.set()
        end.wait(60)

    with serving(faults([FACTORY] * 14 + [hang], FACTORY)) as (url, log):
        process = subprocess.Popen([sys.executable, "-c", RUN, url, str(tmp_path)])
        assert inside.wait(60)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        end.set()
        assert write(url, tmp_path, concurrency=2).stopped == "rejections"
        assert paid(log.requests) <= 20 + 2  # what was in flight is lost


# Through a batch API.


def factory_line(body: dict[str, Any]) -> tuple[int, bytes]:
    return 200, completion(json.dumps(good_reply(str(body), ("ppe", "hazard", "rule"))))


def test_a_first_small_batch_shows_whether_replies_can_be_used(tmp_path: Path) -> None:
    provider = Provider()
    with providing(provider) as url:
        assert write(url, tmp_path, 90, batch=True).accepted == 90
        assert [len(batch.requests) for batch in provider.batches] == [20, 70]
        assert write(url, tmp_path, 190, batch=True).accepted == 190
    assert [len(batch.requests) for batch in provider.batches] == [20, 70, 100]


def test_a_bad_first_batch_is_the_last_one_until_told(tmp_path: Path) -> None:
    provider = Provider(factory_line)
    with providing(provider) as url:
        for _ in range(2):
            outcome = write(url, tmp_path, 90, batch=True)
            assert outcome.stopped == "rejections"
            assert [len(batch.requests) for batch in provider.batches] == [20]
            assert outcome.spent.tokens == 20 * 150
        assert write(url, tmp_path, 90, batch=True, accept_rejections=True).rejected == 90
    assert [len(batch.requests) for batch in provider.batches] == [20, 90, 70]


def test_a_first_batch_that_is_not_answered_is_followed_by_another_small_one(tmp_path: Path) -> None:
    provider = Provider()
    provider.fates = ["expired"]
    with providing(provider) as url:
        assert write(url, tmp_path, 90, batch=True).accepted == 90
    assert [len(batch.requests) for batch in provider.batches] == [20, 10, 70]


@pytest.mark.parametrize("good_now", [False, True])
def test_what_was_submitted_is_collected_before_it_is_decided(tmp_path: Path, good_now: bool) -> None:
    """A batch at the provider is paid for, also where a run may not go on."""
    provider = Provider(factory_line)

    def out_of_order(what: str) -> None:
        if what.startswith("GET /v1/batches/"):
            raise OSError

    with providing(provider) as url:
        write(url, tmp_path, 25, batch=True)
        provider.line = well if good_now else factory_line
        provider.moment = out_of_order
        with pytest.raises(Transient):
            write(url, tmp_path, 95, batch=True, accept_rejections=True, tries=1)
        assert [len(batch.requests) for batch in provider.batches] == [20, 95]
        provider.moment = lambda _: None
        outcome = write(url, tmp_path, 120, batch=True)
    assert outcome.submitted == 0
    if good_now:
        assert (outcome.stopped, outcome.accepted) == (None, 120)
    else:
        assert (outcome.stopped, outcome.accepted) == ("rejections", 0)
        assert outcome.spent.tokens == (20 + 95) * 150
        assert len(provider.batches) == 2
