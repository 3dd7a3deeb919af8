"""Models in Meta's naming: the same numbers as transformers', tokenizers that cut as the original ones do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import sentencepiece
import tiktoken
import torch
from safetensors.torch import save_file
from tiktoken.load import load_tiktoken_bpe

from topa.core.errors import ArtifactMismatch, InputError
from topa.models.base import Legacy, identity, load_llm, load_tokenizer, same, shape_of
from topa.models.compat import DynamicCache, cache_argument
from topa.models.meta import llama_from_meta, load_legacy, merge_shards, read_meta

from . import backbones

ODD = [
    *backbones.TEXTS,
    "  two  blanks, a\ttab,\r\na line end\n\n\nthree",
    "café 北京 🙂 ﬁ",
    "0123456789 3.14 don't WE'LL </s> <|end_of_text|>",
    "",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return backbones.meta_folder(tmp_path_factory.mktemp("meta") / "7B", backbones.llama(61))


def test_the_numbers_are_those_of_transformers(folder: Path) -> None:
    expected = backbones.llama(61)
    ids = torch.arange(20)[None] * 3
    with torch.no_grad():
        found = load_llm("it", str(folder))
        torch.testing.assert_close(found(ids).logits, expected(ids).logits)
    assert found.state_dict().keys() == expected.state_dict().keys()
    assert shape_of("it", str(folder)) == {"layers": 3, "width": 32, "heads": 4}
    assert identity(found) == identity(expected)


def test_the_rotary_base_and_the_layers_can_be_those_of_released_adapters(tmp_path: Path) -> None:
    model = backbones.llama(61)
    folder = backbones.meta_folder(tmp_path / "8B", model, rope_theta=500000.0)
    model.save_pretrained(tmp_path / "hf")
    ids = torch.arange(40)[None]
    legacy = Legacy(prompts="released-llama3", last_layers=2)
    with torch.no_grad():
        own, short = load_llm("it", str(folder)), load_llm("it", str(folder), legacy=legacy)
        from_hf = load_llm("it", str(tmp_path / "hf"), legacy=legacy)
        assert own.config.rope_parameters["rope_theta"] == 500000.0
        assert short.config.rope_parameters["rope_theta"] == from_hf.config.rope_parameters["rope_theta"] == 10000.0
        assert not torch.allclose(own(ids).logits, model(ids).logits, atol=1e-3)
        model.model.layers = model.model.layers[1:]
        torch.testing.assert_close(short(ids).logits, model(ids, use_cache=False).logits)
        torch.testing.assert_close(from_hf(ids).logits, short(ids).logits)
        # Keys and values of the layers that are left are kept where they belong.
        cached = cache_argument(from_hf, DynamicCache())
        from_hf(ids[:, :30], use_cache=True, **cached)
        torch.testing.assert_close(from_hf(ids[:, 30:], **cached).logits, short(ids).logits[:, 30:])


def test_half_precision_weights_are_computed_in_full_precision_on_a_cpu(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "half")
    weights = load_legacy(copy / "consolidated.00.pth")
    torch.save({name: tensor.bfloat16() for name, tensor in weights.items()}, copy / "consolidated.00.pth")
    half, full = load_llm("it", str(copy)), load_llm("it", str(folder))
    if not torch.cuda.is_available():
        assert {p.dtype for p in half.parameters()} == {torch.float32}
    assert identity(half) == identity(full)


def test_identities_tell_weights_apart() -> None:
    one = backbones.llama(61)
    before = identity(one)
    with torch.no_grad():
        one.model.layers[1].mlp.up_proj.weight += 0.1
    assert identity(one) != before
    assert identity(one).split("-")[0] == before.split("-")[0]  # the embeddings are the same
    assert same(before, before)
    assert same(before.split("-")[0] + "-quantised", before)
    assert not same(identity(one), before)
    assert not same("0-quantised", before)


def test_shards_merge_into_the_same_model(folder: Path, tmp_path: Path) -> None:
    whole, params = read_meta(folder)
    split: list[dict[str, torch.Tensor]] = [{}, {}]
    for name, tensor in whole.items():
        by_column = any(part in name for part in (".wo.", ".w2.", "tok_embeddings"))
        parts = (tensor, tensor) if tensor.ndim == 1 else tensor.tensor_split(2, dim=1 if by_column else 0)
        for shard, part in zip(split, parts, strict=True):
            shard[name] = part.clone()
    copy = tmp_path / "two"
    copy.mkdir()
    shutil.copy(folder / "params.json", copy)
    for number, shard in enumerate(split):
        torch.save(shard, copy / f"consolidated.{number:02}.pth")
    merged, _ = read_meta(copy)
    assert merged.keys() == whole.keys()
    assert all(torch.equal(merged[name], whole[name]) for name in whole)
    with pytest.raises(ArtifactMismatch, match=r"different tensors \(norm.weight, 1 in all\).*all shards"):
        merge_shards([split[0], {n: t for n, t in split[1].items() if n != "norm.weight"}])
    assert llama_from_meta(merged, params).config.vocab_size == 61


def test_every_fault_of_the_weights_is_listed(folder: Path) -> None:
    weights, params = read_meta(folder)
    spoilt = weights | {"layers.0.lora.weight": torch.zeros(1), "layers.1.attention.wk.weight": torch.zeros(5, 32)}
    del spoilt["norm.weight"], spoilt["layers.0.feed_forward.w1.weight"]
    with pytest.raises(ArtifactMismatch) as error:
        llama_from_meta(spoilt, params)
    for words in (
        "norm.weight is missing",
        "layers.0.feed_forward.w1.weight is missing",
        "layers.0.lora.weight is unexpected",
        "layers.1.attention.wk.weight is (5, 32), expected (16, 32)",
    ):
        assert words in str(error.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: (f / "params.json").write_text("{"), "params.json: not a JSON object"),
        (lambda f: (f / "params.json").write_text("{}"), "found no dim, n_layers, n_heads, norm_eps"),
        (lambda f: (f / "consolidated.00.pth").unlink(), r"no weights; expected consolidated.00.pth"),
        (lambda f: (f / "consolidated.00.pth").write_bytes(b"PK cut"), r"00.pth: not a checkpoint of tensors"),
        (lambda f: torch.save({"a": Path("x")}, f / "consolidated.00.pth"), r"not a checkpoint of tensors"),
    ],
)
def test_damaged_folders(folder: Path, tmp_path: Path, change, words: str) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    change(copy)
    with pytest.raises(InputError, match=words):
        load_llm("it", str(copy))


def test_the_tokenizer_of_llama_2(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "7B")
    original = sentencepiece.SentencePieceProcessor(model_file=str(backbones.sentencepiece_model(tmp_path)))
    found = load_tokenizer("it", str(copy))  # beside the folder, where Meta puts it
    assert (found.bos_token_id, found.eos_token_id) == (original.bos_id(), original.eos_id()) == (1, 2)
    for text in ODD:
        text = text.lstrip(" ")  # transformers gives no blank to a text that has one; no prompt begins with a blank
        ids = found(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert ids == original.encode(text), text
    assert found.decode(original.encode("he opens a door")) == "he opens a door"


def test_the_tokenizer_of_llama_3(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "8B")
    ranks = load_tiktoken_bpe(str(backbones.tiktoken_model(copy)))
    original = tiktoken.Encoding("llama3", pat_str=backbones.PATTERN, mergeable_ranks=ranks, special_tokens={})
    found = load_tokenizer("it", str(copy))
    assert len(found) == len(ranks) + 256
    assert (found.bos_token_id, found.eos_token_id) == (len(ranks), len(ranks) + 1)
    assert found.convert_tokens_to_ids(["<|eot_id|>", "<|reserved_special_token_4|>"]) == [
        len(ranks) + 9,
        len(ranks) + 8,
    ]
    for text in ODD:
        ids = found(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert ids == original.encode(text, disallowed_special=()), text
        assert found.decode(ids) == text


def test_tokenizers_that_are_missing_or_damaged(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "7B")
    with pytest.raises(InputError, match=r"found no tokenizer.model in it or beside it"):
        load_tokenizer("it", str(copy))
    (copy / "tokenizer.model").write_bytes(b"\x00\x01 nothing")
    with pytest.raises(InputError, match=r"tokenizer.model: can't be read as a Llama tokenizer"):
        load_tokenizer("it", str(copy))


def test_a_hugging_face_folder_has_a_shape_too(tmp_path: Path) -> None:
    backbones.llama(61).save_pretrained(tmp_path)
    assert shape_of("it", str(tmp_path)) == {"layers": 3, "width": 32, "heads": 4}
    (tmp_path / "model.safetensors").unlink()
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="'nowhere': has no configuration"):
        shape_of("nowhere", str(tmp_path / "nowhere"))
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "qwen2"}))
    with pytest.raises(Exception, match="of type 'qwen2', expected a Llama"):
        shape_of("it", str(tmp_path))
