"""Published features: the same vectors as the released code computes, and pickles that can't do harm."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict

import pytest
import torch

from topa.core.errors import InputError
from topa.features.store import FeatureStore
from topa.features.textvid import import_features, read_tensor
from topa.tideos.drop_counts import DropCounts
from topa.tideos.textvid import to_tideo

WIDTH = 8


def tensor(rows: int, seed: int = 0, dtype=torch.float32) -> torch.Tensor:
    return torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(seed)).to(dtype)


def write(path, thing, protocol=4):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(thing, protocol=protocol))
    return path


def tideo(idx, *frames):
    record = {"idx": idx, "frames": [{str(i): c for i, c in enumerate(f)} for f in frames], "QAs": []}
    return to_tideo({**record, "global_video_caption": "d"}, DropCounts())


class Calls:
    """Pickled, it calls whatever it was given."""

    def __init__(self, function, *arguments, state=None):
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_pickled_tensors_are_read(tmp_path, protocol, dtype):
    expected = tensor(5, dtype=dtype)
    found = read_tensor(write(tmp_path / "a.pkl", expected, protocol), WIDTH)
    assert found.dtype == dtype
    assert torch.equal(found, expected)
    part = tensor(9)[2:7]
    assert torch.equal(read_tensor(write(tmp_path / "b.pkl", part, protocol), WIDTH), part)
    trained = tensor(2).requires_grad_()
    assert torch.equal(read_tensor(write(tmp_path / "c.pkl", trained, protocol), WIDTH), trained.detach())


@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_torch_save(tmp_path, zipped):
    torch.save(tensor(3), tmp_path / "a.pkl", _use_new_zipfile_serialization=zipped)
    if zipped:
        assert torch.equal(read_tensor(tmp_path / "a.pkl", WIDTH), tensor(3))
    else:
        with pytest.raises(InputError, match=r"a\.pkl"):
            read_tensor(tmp_path / "a.pkl", WIDTH)


def hostile(target):
    inner = pickle.dumps(Calls(os.system, f"touch {target}"), protocol=2)
    return {
        "a call": Calls(os.system, f"touch {target}"),
        "eval": Calls(eval, f"open({str(target)!r}, 'w')"),
        "behind a tensor": [tensor(2), Calls(os.system, f"touch {target}")],
        "in a storage": Calls(torch.storage._load_from_bytes, inner),
        "by an attribute": Calls(getattr, Calls(__import__, "os"), "system"),
        "in a dictionary": OrderedDict(a=Calls(os.system, f"touch {target}")),
        "another name of torch": Calls(torch.load, str(target)),
    }


@pytest.mark.parametrize("kind", list(hostile("x")))
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_cannot_execute(tmp_path, kind, protocol):
    target = tmp_path / "executed"
    path = write(tmp_path / "a.pkl", hostile(target)[kind], protocol)
    with pytest.raises(InputError, match=r"a\.pkl: can't be read safely"):
        read_tensor(path, WIDTH)
    assert not target.exists()


def test_the_same_pickle_would_have_executed(tmp_path):
    """The test above can fail: Python's own unpickler makes the file."""
    target = tmp_path / "executed"
    pickle.loads(pickle.dumps(hostile(target)["a call"]))
    assert target.exists()


def test_a_pickle_cannot_change_torch(tmp_path):
    rebuild = torch._utils._rebuild_tensor_v2
    before = (rebuild.__defaults__, rebuild.__code__, dict(rebuild.__dict__))
    # BUILD: the state is set on what the name stands for.
    body = b"ctorch._utils\n_rebuild_tensor_v2\n(N}X\x0c\x00\x00\x00__defaults__(I1\nI2\nI3\ntstb."
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x02" + body)
    with pytest.raises(InputError):
        read_tensor(path, WIDTH)
    assert (rebuild.__defaults__, rebuild.__code__, dict(rebuild.__dict__)) == before


@pytest.mark.parametrize(
    ("thing", "told"),
    [
        (tensor(2).tolist(), "found list"),
        (tensor(2)[:, :5], r"found torch.float32 \(2, 5\)"),
        (tensor(2)[0], r"found torch.float32 \(8,\)"),
        (torch.ones(2, WIDTH, dtype=torch.int64), "found torch.int64"),
        (torch.zeros(2, WIDTH), "rows that are zero"),
        (torch.full((2, WIDTH), float("nan")), "rows that are zero, infinite or NaN"),
        (torch.ones(1, WIDTH).expand(10**9, WIDTH), "fewer values than that"),
    ],
)
def test_what_is_no_feature(tmp_path, thing, told):
    with pytest.raises(InputError, match=rf"a\.pkl: .*{told}"):
        read_tensor(write(tmp_path / "a.pkl", thing), WIDTH)


def test_a_tensor_beyond_its_storage(tmp_path):
    storage = tensor(1)._typed_storage()

    class Beyond:
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (storage, 0, (100, WIDTH), (WIDTH, 1), False, OrderedDict())

    with pytest.raises(InputError, match="can't be read safely"):
        read_tensor(write(tmp_path / "a.pkl", Beyond()), WIDTH)


def released(rows: torch.Tensor, counts: list[int]) -> torch.Tensor:
    """Frame features by the formula of the released code, one frame after another."""
    out, start = [], 0
    for count in counts:
        unit = rows[start : start + count] / rows[start : start + count].norm(dim=-1, keepdim=True)
        mean = unit.mean(dim=0)
        out.append(mean / mean.norm())
        start += count
    return torch.stack(out)


def test_the_store_holds_one_vector_per_frame(tmp_path):
    tideos = [tideo("a", ["x", "y", "z"], ["v"]), tideo(7, ["x"], ["", "u", ""])]
    write(tmp_path / "features" / "a.pkl", tensor(4, 1))
    write(tmp_path / "features" / "7.pkl", tensor(4, 2))
    tally = DropCounts()
    import_features(tideos, tmp_path / "features", tmp_path / "out", "clip", tally, width=WIDTH)
    store = FeatureStore.open(tmp_path / "out").expect("clip", "text")
    assert list(store) == ["a", "7"]
    assert torch.allclose(store.rows("a"), released(tensor(4, 1), [3, 1]), atol=2e-3)
    # A key without words owns a row too.
    assert torch.allclose(store.rows("7"), released(tensor(4, 2), [1, 3]), atol=2e-3)
    assert store.manifest.config == {"fusion": "mean", "imported": "textvid", "left_out": 0, "space": "text"}
    assert tally.total == 0


def test_what_has_no_features_is_counted_and_named(tmp_path):
    folder = tmp_path / "features"
    write(folder / "good.pkl", tensor(2))
    write(folder / "short.pkl", tensor(1))
    (folder / "bad.pkl").write_bytes(b"\x80\x04nothing")
    write(tmp_path / "outside.pkl", tensor(2))
    names = ["good", "short", "bad", "gone", "../outside", str(tmp_path / "outside")]
    tally = DropCounts()
    store = import_features([tideo(n, ["x", "y"]) for n in names], folder, tmp_path / "out", "clip", tally, width=WIDTH)
    assert list(store) == ["good"]
    assert tally.examples.pop("features: damaged")[0].startswith("bad (")
    assert tally.examples == {
        "features: rows don't fit the captions": ["short (1 for 2)"],
        "features: missing": ["gone", "../outside", str(tmp_path / "outside")],
    }
    assert store.manifest.config["left_out"] == 5
    with pytest.raises(InputError, match=r"features of none of the Tideos \(1: features: missing \(such as gone\)\)"):
        import_features([tideo("gone", ["x"])], folder, tmp_path / "none", "clip", DropCounts(), width=WIDTH)
