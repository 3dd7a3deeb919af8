"""The verbs: the words that name each, its config, and the function that is called with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..core.verbs import VerbConfig
from ..evals.verbs import CompareConfig, DemoConfig, EvaluateConfig, ReproduceConfig
from ..features.verbs import EncodeConfig, ImportTextVidConfig
from ..inference.verbs import AdaptConfig, AskConfig, CaptionConfig, ExplainConfig
from ..library.verbs import IndexConfig, SearchConfig, WhenConfig
from ..memory.verbs import BuildMemoryConfig, ImportMemoryConfig, InspectMemoryConfig
from ..runs.verbs import RunsConfig
from ..serving.verbs import ServeConfig
from ..tideos.verbs import CardConfig, CleanConfig, ExportConfig, GenerateConfig, MergeConfig, SeedsConfig
from ..training.verbs import AlignRunConfig, FinetuneRunConfig, ImportCheckpointConfig


@dataclass(frozen=True)
class Switch:
    """An option that has another function called: `--dry-run`, which says what would be done.

    alone: whether it needs nothing of the verb's config.
    """

    name: str
    help: str
    run: str
    alone: bool = False


@dataclass(frozen=True)
class Verb:
    """A verb. run: `module:function`, imported when it is called. models: whether a model computes in it. shows:
    whether the function gives its results to `show` while it is at work, instead of returning one. now: its name, where
    `words` is the one that it had before this release."""

    words: str
    config: type[VerbConfig]
    run: str
    switches: tuple[Switch, ...] = ()
    models: bool = True
    shows: bool = False
    now: str = ""
    alone: ClassVar[bool] = False


def _dry_run(run: str, help: str = "Say what would be done, and do nothing.") -> tuple[Switch, ...]:
    return (Switch("dry_run", help, run),)


_INDEX = "Say what would be done, how long it takes and how much space. Try a few."
_ALIGN = "Load no weights: print what would train, memory, steps and tokens."
_GENERATE = "Send nothing: print the prompt of the first seed and an estimate."
_LIST = Switch("list", "Show the benchmarks, and end.", "topa.evals.catalogue:catalogue", alone=True)
VERBS = (
    Verb("demo", DemoConfig, "topa.demo:demo", shows=True),
    Verb("ask", AskConfig, "topa.library.ask:ask"),
    Verb("caption", CaptionConfig, "topa.library.ask:caption"),
    Verb("explain", ExplainConfig, "topa.library.ask:explain"),
    Verb("index", IndexConfig, "topa.library.index:index", _dry_run("topa.library.index:estimate", _INDEX)),
    Verb("search", SearchConfig, "topa.library.search_verbs:search"),
    Verb("when", WhenConfig, "topa.library.search_verbs:when"),
    Verb("adapt", AdaptConfig, "topa.library.ask:adapt"),
    Verb("accustom", AdaptConfig, "topa.library.ask:adapt", now="adapt"),
    Verb("align", AlignRunConfig, "topa.training.align:run", _dry_run("topa.training.align:dry_run", _ALIGN)),
    Verb("finetune", FinetuneRunConfig, "topa.training.finetune:run", _dry_run("topa.training.finetune:dry_run")),
    Verb("runs", RunsConfig, "topa.runs.runs:runs", models=False),
    Verb("seeds", SeedsConfig, "topa.tideos.seeds:seeds", models=False),
    Verb(
        "generate",
        GenerateConfig,
        "topa.microworld.generate:generate",
        _dry_run("topa.tideos.generate:estimate", _GENERATE),
    ),
    Verb("merge", MergeConfig, "topa.tideos.generate:merge", models=False),
    Verb("clean", CleanConfig, "topa.tideos.clean:clean", models=False),
    Verb("card", CardConfig, "topa.tideos.card:card", models=False),
    Verb("export", ExportConfig, "topa.tideos.export:export", models=False),
    Verb("encode", EncodeConfig, "topa.features.encode:encode"),
    Verb("memory build", BuildMemoryConfig, "topa.memory.build:build", models=False),
    Verb("memory inspect", InspectMemoryConfig, "topa.memory.build:inspect", models=False),
    Verb("import checkpoint", ImportCheckpointConfig, "topa.training.pretrained:import_checkpoint", models=False),
    Verb("import textvid", ImportTextVidConfig, "topa.features.import_textvid:import_textvid", models=False),
    Verb("import memory", ImportMemoryConfig, "topa.memory.import_memory:import_memory", models=False),
    Verb(
        "evaluate",
        EvaluateConfig,
        "topa.evals.evaluate:evaluate",
        (*_dry_run("topa.evals.evaluate:plan"), _LIST),
    ),
    Verb("compare", CompareConfig, "topa.evals.compare_tables:run", models=False),
    Verb("reproduce", ReproduceConfig, "topa.evals.reproduce:reproduce"),
    Verb("serve", ServeConfig, "topa.serving.start:start", shows=True),
)
