"""The exceptions that topa raises deliberately.

Each message says where, what was found, what was expected and what to do next. The command line prints it as one
paragraph and exits with `exit_code`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class TopaError(Exception):
    """Base class of all deliberate errors. exit_code: 1 if the work failed, 2 if the request was wrong."""

    exit_code = 1


class UsageError(TopaError):
    """The request is wrong: an option, a name, or a combination of them."""

    exit_code = 2


class InputError(TopaError):
    """An input file can't be used: it is missing, empty, of the wrong type, or malformed."""

    exit_code = 2


class VideoError(InputError):
    """Not a single frame of a video can be decoded."""


class ArtifactError(TopaError):
    """An artifact is damaged, incomplete or of an unknown format version."""


class ArtifactMismatch(TopaError):
    """Two artifacts don't fit together: different encoders, widths or base models."""

    exit_code = 2


class MissingVideos(TopaError):
    """All videos of a library are missing at once: they were moved, or their disk isn't mounted."""


class WorkerError(TopaError):
    """Workers of a cluster failed; the message quotes their errors."""


def first_problem(error: ValidationError, whole: str = "") -> str:
    """Format pydantic's first error as "path.to.field: message". whole: in place of an empty path."""
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"])) or whole
    return f"{where}: {first['msg']}" if where else first["msg"]


class AllFailed(TopaError):
    """A run finished, and every one of its items failed."""


class OutputError(TopaError):
    """A result can't be written to the requested place."""
