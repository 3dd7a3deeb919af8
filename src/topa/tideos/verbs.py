"""The configs of the verbs that make sets of Tideos."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ..core.shards import ShardSpec
from ..core.verbs import VerbConfig, argument, option

_TIDEOS = "Tideos as JSON Lines."
_SEED = "Seed of all that is drawn."
NEAR = 0.8
"""From which overlap two Tideos of a language model are near duplicates, by default."""


class SeedsConfig(VerbConfig):
    """Draw the short texts that Tideos are written of: from public data sets' captions, nouns, and your own lists.

    Example:  topa seeds --kind text mine.txt wordnet=data.noun:2 webvid=a.csv --count 1000 --out seeds.jsonl
    """

    sources: tuple[str, ...] = argument(
        "path, kind=path or kind=path:weight. Kinds: howto100m, webvid, ego4d, wordnet, text (a seed a line), csv, "
        "jsonl. Weights are shares of --count, 1 each by default.",
        metavar="SOURCE",
    )
    out: Path = option("File of the seeds, JSON Lines.")
    kind: Literal["howto100m", "webvid", "ego4d", "wordnet", "text", "csv", "jsonl"] | None = option(
        "The kind of all sources without kind=.", default=None
    )
    count: int | None = option("How many seeds to draw. Default: one of every text.", min=1, default=None)
    seed: int = option("Seed of the sample.", default=0)
    column: str | None = option("The column with the text, for the kind csv. Default: text.", default=None)
    field: str | None = option("The field with the text, for the kind jsonl. Default: text.", default=None)


class ExportConfig(VerbConfig):
    """Write Tideos in a form that others read.

    Example:  topa export kitchen.jsonl --format parquet --out kitchen.parquet
    """

    tideos: Path = argument(_TIDEOS)
    format: Literal["jsonl", "parquet", "textvid"] = option("jsonl, parquet or textvid (the published form).")
    out: Path = option("The file to write.")


class CleanConfig(VerbConfig):
    """Leave out Tideos that are double or malformed, and balance the places of right answers.

    Example:  topa clean kitchen.jsonl --out kitchen-clean --seed 3
    """

    tideos: Path = argument(_TIDEOS)
    out: Path = option("Folder for tideos.jsonl and quality.json.")
    seed: int = option("Seed of the options' order.", default=0)
    near: float = option("Overlap of near duplicates; 1: exact ones only.", min=0.01, max=1, default=NEAR)


class CardConfig(VerbConfig):
    """Describe a set of Tideos: counts, kinds, letters, words, duplicates, and what its questions give away.

    Example:  topa card kitchen.jsonl --out kitchen-card
    """

    tideos: Path = argument(_TIDEOS)
    out: Path = option("Folder for card.md, card.html and card.json.")


class GenerateConfig(VerbConfig):
    """Have a Tideo written for every seed: paced, within a budget, resumable; then cleaned, balanced and described.

    Example:  topa generate --seeds seeds.jsonl --base-url http://localhost:8000/v1 --model NAME --out tideos
    """

    out: Path = option("Folder of the ledger and the Tideos; the same command resumes.")
    seeds: Path | None = option("JSON Lines of objects with id, kind and text; microworld has none.", default=None)
    writer: Literal["openai", "batch", "local", "microworld"] | None = option(
        "openai (any endpoint that speaks OpenAI's protocol), batch (its batch API, at half the price), local (a "
        "Hugging Face model in this process) or microworld (procedural). Default: openai with --base-url, else "
        "microworld.",
        default=None,
    )
    base_url: str | None = option("Of the endpoint, such as https://host/v1.", default=None)
    model: str | None = option("The writer's name at the endpoint; for local, a folder or hub id.", default=None)
    limit: int | None = option("Of the seeds only the first ones. microworld: how many.", min=1, default=None)
    shard: ShardSpec | None = option(
        "i/n: every n-th seed from the i-th on, to OUT/shard-i-of-n.",
        parse=ShardSpec.parse,
        metavar="I/N",
        default=None,
    )
    ray: int | None = option("Write so many shards on Ray's workers, then merge them.", min=1, default=None)
    near: float | None = option(
        f"Overlap of near duplicates; 1: exact ones only. Default: {NEAR}; microworld: 1.",
        min=0.01,
        max=1,
        default=None,
    )
    seed: int = option(_SEED, default=0)
    budget: float | None = option(
        "Stop before this is exceeded, over all runs: money with prices, else tokens. Without one, an estimate is "
        "shown and you are asked, for writers that may cost something.",
        default=None,
    )
    yes: bool = option(
        "Without a --budget: go on without being asked, whatever it takes.", short=("-y",), default=False
    )
    accept_rejections: bool = option(
        "Go on although nearly all replies (9 of 10, of the first 20 or the latest 100) can't be used.", default=False
    )
    price_in: float = option("Price of a million tokens read; batch counts half of it.", min=0, default=0.0)
    price_out: float = option("Price of a million tokens written; batch counts half of it.", min=0, default=0.0)
    concurrency: int = option("Requests at a time; for local, the largest batch.", min=1, default=8)
    rpm: float | None = option("Requests per minute. Default: no limit.", default=None)
    tpm: float | None = option("Tokens per minute. Default: no limit.", default=None)
    prompt: Path | None = option(
        "Your own prompt: a text with {seed} where the seed goes. Own kinds of questions are declared at its top, "
        'as TOML between two lines +++: kinds = ["hazard", "rule"], or a table [kinds] with a line such as hazard '
        '= "what could hurt somebody" for each, which the data card repeats; and options = 4, if not 5.',
        default=None,
    )
    key_env: str | None = option("Variable that holds the key. Default: OPENAI_API_KEY, may be unset.", default=None)
    max_tokens: int = option("Longest reply, in tokens.", min=1, default=8192)
    temperature: float | None = option("Of sampling. Default: the writer's own.", min=0, default=None)
    timeout: float = option("Seconds for one request.", min=0.001, default=300.0)
    poll: float = option(
        "batch: seconds between looks at the batches. Ctrl-C leaves them to the provider; the same command "
        "collects them.",
        min=0.01,
        default=60.0,
    )
    resume: bool = option("Go on with what is in OUT, or refuse to.", flag="--resume/--no-resume", default=True)

    @property
    def folder(self) -> Path:
        """Where the set, or the part of it, lies."""
        return self.out if self.shard is None else self.shard.folder(self.out)

    @property
    def kind(self) -> str:
        """The writer that is meant."""
        return self.writer or ("microworld" if self.base_url is None else "openai")

    @property
    def paid(self) -> bool:
        """Whether whoever runs this writer may have to pay for what it writes."""
        return self.kind not in ("microworld", "local")


class MergeConfig(VerbConfig):
    """Make one set of the finished shards of topa generate --shard.

    Example:  topa merge tideos
    """

    out: Path = argument("The folder with the shards; gets the set.")
    near: float | None = option(
        "Overlap of near duplicates. Default: that of the shards.", min=0.01, max=1, default=None
    )
    seed: int = option(_SEED, default=0)
