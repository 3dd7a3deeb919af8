"""The verb `generate`: a set of the micro world's Tideos, or one by a writer that is asked (`tideos.generate`)."""

from __future__ import annotations

from ..core.artifacts import output_folder
from ..core.errors import UsageError
from ..tideos import generate as by_writer
from ..tideos.assemble import assemble
from ..tideos.generate_result import GenerateResult
from ..tideos.set_result import SetResult
from ..tideos.verbs import GenerateConfig
from .writer import write_tideos


def generate(config: GenerateConfig) -> SetResult | GenerateResult:
    """Have a set written by the writer that is meant. Raises as `write_microworld` and `tideos.generate` do."""
    return write_microworld(config) if config.kind == "microworld" else by_writer.generate(config)


def write_microworld(config: GenerateConfig, *, show: bool = True) -> SetResult:
    """Write a set by the micro world. The same config gives the same set.

    Raises UsageError without a limit, and for options that only a writer that is asked has; OutputError where the
    folder can't be written.
    """
    by_writer.expect_resumable(config)
    for name in ("seeds", "prompt", "model", "ray"):
        if getattr(config, name):
            raise UsageError(f"generate: the micro world has no use for --{name}. Leave it out, or name a --writer.")
    if config.limit is None:
        raise UsageError("generate: the micro world writes as many as it is asked for. Give --limit.")
    output_folder(config.folder)
    part = config.shard
    tideos = (tideo for n, tideo in enumerate(write_tideos(config.limit, config.seed)) if part is None or part.has(n))
    report = assemble(
        tideos,
        config.folder,
        seed=config.seed,
        checks=by_writer.checks_of(config),
        config={"writer": "microworld", "limit": config.limit} | ({} if part is None else {"shard": str(part)}),
        total=config.limit,
        show=show,
    )
    return SetResult(config.folder, report, part, recipe="microworld", seed=config.seed)
