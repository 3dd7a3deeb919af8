"""A user's own prompt, and what is declared at its top."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from topa.core.errors import InputError
from topa.tideos.prompt_file import DEFAULT_FORM, ReplyForm, read_prompt
from topa.tideos.seeds import Seed
from topa.tideos.writer_prompt import ReplyError, WriterPrompt, read_reply, reply_schema

from .replies import good_reply

BODY = 'Film {seed}. Questions such as {"kind": "hazard"}.\n'
LIST_OF_KINDS = '+++\nkinds = ["hazard", "ppe", "causal"]\noptions = 4\n+++\n'
TABLE_OF_KINDS = '+++\noptions = 4\n\n[kinds]\nhazard = "what could hurt"\nppe = "what is worn"\ncausal = ""\n+++\n'


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "prompt.txt"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_kinds_are_declared_as_a_list_or_with_what_they_mean(tmp_path: Path, mark: str, ends: str) -> None:
    text, form = read_prompt(write(tmp_path, (mark + LIST_OF_KINDS + BODY).replace("\n", ends)))
    assert (text, form.names, form.options) == (BODY, ("hazard", "ppe", "causal"), 4)
    text, form = read_prompt(write(tmp_path, (mark + TABLE_OF_KINDS + BODY).replace("\n", ends)))
    assert (text, form.options) == (BODY, 4)
    assert form.kinds == (("hazard", "what could hurt"), ("ppe", "what is worn"), ("causal", ""))


def test_without_a_declaration_nothing_changes(tmp_path: Path) -> None:
    text = 'Film {seed}!\n---\nkinds: five\n{"kind": "causal"} or {"kind": "..."} or {"kind": "string"}\n+++\n'
    assert read_prompt(write(tmp_path, text)) == (text, DEFAULT_FORM)
    assert read_prompt(write(tmp_path, "+++\n+++\n{seed}")) == ("{seed}", DEFAULT_FORM)
    assert WriterPrompt(text).declaration == {}


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ('+++\nkinds = ["a", "a"]\n+++\n{seed}', 2, "a is there twice"),
        ('+++\nkinds = ["a",\n  "B b"]\n+++\n{seed}', 3, "found 'B b'; expected a word"),
        (f'+++\nkinds = ["{"a" * 41}"]\n+++\n{{seed}}', 2, "at most 40"),
        ("+++\nkinds = [3]\n+++\n{seed}", 2, "found 3; expected a word"),
        ("+++\nkinds = []\n+++\n{seed}", 2, r"found \[\]; expected 1 to 20 names"),
        (f"+++\nkinds = {[f'k{n}' for n in range(21)]}\n+++\n{{seed}}", 2, "expected 1 to 20 names"),
        ('+++\nkinds = "hazard"\n+++\n{seed}', 2, "found 'hazard'; expected 1 to 20 names"),
        ("+++\n\n[kinds]\na = 3\n+++\n{seed}", 4, "a: found 3; expected one line"),
        ('+++\n[kinds]\na = """x\ny"""\n+++\n{seed}', 3, "expected one line"),
        ('+++\n[kinds]\na = "x"\na = "y"\n+++\n{seed}', 4, "can't be read as TOML"),
        ("+++\n# no more\nkinds = [\n+++\n{seed}", 3, "can't be read as TOML"),
        ('+++\nkind = ["a"]\n+++\n{seed}', 2, "did you mean 'kinds'"),
        ("+++\noptions = 1\n+++\n{seed}", 2, "found 1; expected a number from 2 to 10"),
        ("+++\noptions = true\n+++\n{seed}", 2, "found True"),
        ("+++\n{seed}", 1, "no second one"),
        ("---\nkinds: a\n---\n{seed}", 1, "declares nothing"),
        ("kinds: a, b\n{seed}", 1, "declares nothing"),
        ('+++\nkinds = ["rule"]\n+++\nfilm {seed}\nas "kind": "ppe"', 5, "kind 'ppe'; expected rule. .*paid for"),
        ('film {seed}\n{"kind":"hazard"}', 2, "kind 'hazard'; expected descriptive, temporal.*Declare your own kinds"),
    ],
)
def test_what_cannot_be_is_named_with_its_line(tmp_path: Path, text: str, line: int, problem: str) -> None:
    with pytest.raises(InputError, match=rf"prompt.txt:{line}: .*{problem}"):
        read_prompt(write(tmp_path, text))


def test_a_seed_in_the_declaration_alone_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found no \{seed\}"):
        read_prompt(write(tmp_path, '+++\n[kinds]\na = "{seed}"\n+++\nFilm.'))


def test_the_schema_and_the_reader_know_exactly_the_declared_kinds(tmp_path: Path) -> None:
    asking = WriterPrompt.from_file(write(tmp_path, LIST_OF_KINDS + BODY))
    question = reply_schema(asking.form)["properties"]["questions"]["items"]["properties"]
    assert question["kind"] == {"enum": ["hazard", "ppe", "causal"], "type": "string"}
    assert (question["options"]["minItems"], question["options"]["maxItems"]) == (4, 4)
    assert question["answer"]["maximum"] == 3
    own = json.dumps(good_reply("hall", ("hazard", "ppe", "causal"), 4))
    assert [question.kind for question in read_reply(own, asking.form).questions] == ["hazard", "ppe", "causal"]
    with pytest.raises(ReplyError, match="options"):
        read_reply(json.dumps(good_reply("hall", ("hazard", "ppe", "causal"), 5)), asking.form)
    with pytest.raises(ReplyError) as error:
        read_reply(json.dumps(good_reply("hall", ("rule", "temporal", "ppe"), 4)), asking.form)
    assert error.value.reason == "questions.kind: found 'rule', 'temporal'; expected hazard, ppe, causal"


def test_the_names_of_a_reply_cannot_flood_its_reason() -> None:
    reply = good_reply("hall", [f"{'x' * 100}{n}" for n in range(9)] + ["\x1b[31m"], 9)
    with pytest.raises(ReplyError) as error:
        read_reply(json.dumps(reply), ReplyForm(options=9))
    assert len(error.value.reason) < 200
    assert "\x1b" not in error.value.reason


def test_kinds_and_options_tell_prompts_apart_and_descriptions_do_not(tmp_path: Path) -> None:
    prompt = WriterPrompt.from_file(write(tmp_path, LIST_OF_KINDS + BODY))
    assert WriterPrompt.from_file(write(tmp_path, TABLE_OF_KINDS + BODY)).identity == prompt.identity
    assert prompt.render(Seed(id="1", kind="own", text="a hall")) == BODY.replace("{seed}", "a hall")
    others = [
        LIST_OF_KINDS.replace("4", "3"),
        LIST_OF_KINDS.replace("ppe", "rule"),
        LIST_OF_KINDS.replace('"hazard", "ppe"', '"ppe", "hazard"'),
    ]
    identities = {WriterPrompt.from_file(write(tmp_path, other + BODY)).identity for other in others}
    assert len(identities | {prompt.identity, WriterPrompt(BODY).identity}) == 5
    assert prompt.declaration == {"kinds": ["hazard", "ppe", "causal"], "options": 4}
