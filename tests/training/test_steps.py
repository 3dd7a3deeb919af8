"""What each process reads of a step: together the whole of it, once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from topa.core.errors import InputError
from topa.features.frames import FrameFeatures
from topa.features.store import FeatureStore, FeatureStoreWriter
from topa.tideos.index import TideoFile
from topa.tideos.jsonl import write_jsonl
from topa.tideos.tideo import Question, TextFrame, Tideo
from topa.training.data import AlignmentSet, Labels, Mix, Share, Step, StoredSet, epoch_steps
from topa.training.reading import compute_loss

from .small import COLOURS, model, prompter, question, samples

ALL = Mix(0.4, 0.3, 0.3)


def steps(data, share: Share | None = None, first: int = 0, window: int | None = None, **more) -> list[Step]:
    writer = prompter()
    writer.window = window
    options = {"batch_size": 5, "seed": 3, "epoch": 0} | more
    return list(epoch_steps(data, writer, ALL, first=first, share=share, **options))


def same(a: Step, b: Step) -> bool:
    told = ("members", "weights", "tokens", "targets", "cut", "left_out")
    fields = ("ids", "visible", "is_slot", "frames", "frame_valid", "rows", "columns", "targets")
    return (
        all(getattr(a, name) == getattr(b, name) for name in told)
        and len(a.micro_batches) == len(b.micro_batches)
        and all(
            torch.equal(getattr(x, f), getattr(y, f))
            for x, y in zip(a.micro_batches, b.micro_batches, strict=True)
            for f in fields
        )
    )


@pytest.mark.parametrize("budget", [40, 90, 1 << 62])
@pytest.mark.parametrize("of", [1, 2, 3, 8])
def test_processes_share_a_step(of, budget):
    data = samples(23)
    told = [steps(data, Share(rank, of, budget)) for rank in range(of)]
    for together in zip(*told, strict=True):
        members = [i for step in together for batch in step.micro_batches for i in batch.members]
        assert sorted(members) == sorted(together[0].members)
        assert len({step.members for step in together}) == 1
        assert sum(weight for step in together for weight in step.weights) == pytest.approx(1)
        targets = sum(len(batch.targets) for step in together for batch in step.micro_batches)
        assert {step.targets for step in together} == {targets}
        tokens = sum(int(batch.visible.sum()) for step in together for batch in step.micro_batches)
        assert {step.tokens for step in together} == {tokens}


def test_a_pass_stays_within_its_budget_unless_one_row_is_longer():
    for step in steps(samples(40), Share(pass_tokens=70), batch_size=20):
        assert len(step.micro_batches) > 3
        for batch in step.micro_batches:
            assert batch.ids.numel() <= 70 or len(batch.ids) == 1


def test_processes_that_need_one_another_read_as_many_passes():
    data = samples(21)
    for together in zip(*[steps(data, Share(rank, 4, 40, even=True)) for rank in range(4)], strict=True):
        assert len({len(step.micro_batches) for step in together}) == 1
        assert sum(weight for step in together for weight in step.weights) == pytest.approx(1)
        empty = [b for step in together for b, w in zip(step.micro_batches, step.weights, strict=True) if w == 0]
        real = [b for step in together for b, w in zip(step.micro_batches, step.weights, strict=True) if w]
        assert sorted(i for b in real for i in b.members) == sorted(together[0].members)
        assert all(len(b.ids) == 1 for b in empty)


def test_a_process_without_rows_has_no_pass():
    (step,) = steps(samples(2), Share(2, 3))
    assert step.micro_batches == ()
    assert len(step.members) == 2


def test_the_gradients_of_all_parts_are_those_of_the_step():
    data = samples(10)
    (whole,) = steps(data, batch_size=10, noise=0.2)
    made = model()
    for layer in made.prompts:
        torch.nn.init.constant_(layer.gate, 0.3)

    def gradients(told: list[Step]) -> dict[str, torch.Tensor]:
        for parameter in made.trainable_parameters():
            parameter.grad = None
        for step in told:
            for batch, weight in zip(step.micro_batches, step.weights, strict=True):
                (compute_loss(made, batch) * weight).backward()
        return {name: p.grad.clone() for name, p in made.named_trainable().items()}

    parts = [steps(data, Share(rank, 3, 50), batch_size=10, noise=0.2)[0] for rank in range(3)]
    expected, found = gradients([whole]), gradients(parts)
    assert sum(len(step.micro_batches) for step in parts) > 3
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=2e-6, rtol=1e-4)


@pytest.mark.parametrize("first", [1, 16, 17, 24])
def test_an_epoch_can_begin_in_the_middle(first):
    data = samples(130)
    whole, rest = steps(data, noise=0.2), steps(data, first=first, noise=0.2)
    assert len(whole) == 26
    assert all(same(a, b) for a, b in zip(whole[first:], rest, strict=True))


def long_sample(options: int) -> Labels:
    told = " ".join(["the ball is small"] * 20)
    return Labels(told, (question(0),) if options else (Question(question=told, answer_text=told),))


def test_where_one_task_is_too_long_another_is_tried():
    data = samples(20)
    data = replace(data, labels=(*data.labels[:-1], long_sample(4)))
    told = steps(data, window=60)
    assert sorted(i for step in told for i in step.members) == list(range(20))
    assert all(step.left_out == 0 for step in told)


def test_samples_that_never_fit_are_left_out_and_counted():
    data = samples(20)
    data = replace(data, labels=(long_sample(0), *data.labels[1:10], long_sample(0), *data.labels[11:]))
    told = steps(data, window=60)
    assert len(told) == 4  # as many steps as without them
    assert sorted(i for step in told for i in step.members) == [i for i in range(20) if i not in (0, 10)]
    assert [step.left_out for step in told] == [2, 0, 0, 0]
    again = steps(data, window=60, first=1)
    assert all(same(a, b) for a, b in zip(told[1:], again, strict=True))


def test_when_hardly_anything_fits_it_is_said():
    data = samples(20)
    data = replace(data, labels=tuple(long_sample(0) for _ in range(20)))
    with pytest.raises(InputError, match=r"20 of 20 samples have no prompt of 60 tokens at most.*--set max_tokens="):
        steps(data, window=60)


def test_a_question_that_cannot_be_asked_names_its_sample():
    data = samples(8)
    bad = Question(question="which", options=tuple(map(str, range(11))), answer=0)
    named = replace(data, labels=(*data.labels[:7], Labels("a ball", (bad,))), names=tuple("abcdefgh"))
    with pytest.raises(InputError, match="sample h: options: found 11"):
        list(epoch_steps(named, prompter(), Mix(1, 0, 0), batch_size=4, seed=0, epoch=0))


@pytest.fixture
def stored(tmp_path) -> tuple[AlignmentSet, StoredSet]:
    """The same samples in memory and on disk: of one to seven frames, of which five are shown."""
    features, tideos = [], []
    with_times = FeatureStoreWriter(tmp_path / "store", "tiny", 12, "text")
    for i in range(20):
        number = 1 + i % 7
        drawn = torch.randn(number, 12, generator=torch.Generator().manual_seed(i))
        rows = torch.nn.functional.normalize(drawn, dim=-1)
        features.append(FrameFeatures.text(rows, "tiny"))
        with_times.add(features[-1], f"t{i}")
        frames = tuple(TextFrame(caption=f"a {COLOURS[i % 4]} ball") for _ in range(number))
        told = Tideo(id=f"t{i}", frames=frames, description="the ball is red", questions=(question(i % 4),))
        tideos.append(told)
    store = with_times.close()
    write_jsonl(tideos, tmp_path / "tideos.jsonl")
    file = TideoFile.open(tmp_path / "tideos.jsonl", show=False)
    labels = [Labels(t.description, t.questions) for t in tideos]
    memory = AlignmentSet.make([store[f"t{i}"] for i in range(20)], labels, 5, [f"t{i}" for i in range(20)])
    return memory, StoredSet(file, file.ids, FeatureStore.open(store.path), 5, range(20))


def test_samples_on_disk_are_those_in_memory(stored):
    memory, disk = stored
    assert len(memory) == len(disk) == 20
    assert [memory.name(i) for i in range(20)] == [disk.name(i) for i in range(20)]
    assert all(same(a, b) for a, b in zip(steps(memory), steps(disk), strict=True))
    read = disk.in_memory()
    assert torch.equal(read.values, memory.values)
    assert torch.equal(read.valid, memory.valid)
    assert (read.labels, read.names) == (memory.labels, memory.names)


def test_features_that_are_no_numbers_are_named(stored):
    """Written as numbers, damaged afterwards: the sample is named when it is read."""
    _, disk = stored
    path = next(disk.store.path.glob("features-*.safetensors"))
    data = bytearray(path.read_bytes())
    rows = disk.store.rows("t2").half().numpy().tobytes()
    at = bytes(data).index(rows[:24])
    data[at : at + 2] = b"\x00\x7e"  # a half-precision NaN
    path.write_bytes(data)
    with pytest.raises(InputError, match="features of 't2' hold NaN"):
        replace(disk, store=FeatureStore.open(disk.store.path)).features([0, 2, 3])


def test_a_part_on_disk_is_that_part(stored):
    memory, disk = stored
    part = replace(disk, places=range(12, 20))
    expected = memory.take(range(12, 20))
    assert [part.name(i) for i in range(8)] == list(expected.names)
    assert all(same(a, b) for a, b in zip(steps(expected), steps(part), strict=True))
