"""The errors that topa raises on purpose.

Each message says where, what was found, what was expected and what to do next. The command line prints it as one
paragraph and exits with `exit_code`.
"""

from __future__ import annotations


class TopaError(Exception):
    """Base of every deliberate error. `exit_code`: 1, the work failed; 2, the request was wrong."""

    exit_code = 1


class UsageError(TopaError):
    """The request itself is wrong: an option, a name, a combination."""

    exit_code = 2


class InputError(TopaError):
    """A file given by the user can't be used: missing, empty, of another type, malformed."""

    exit_code = 2


class VideoError(InputError):
    """A video from which not a single frame can be had."""


class ArtifactError(TopaError):
    """An artifact of ours is damaged, incomplete or of an unknown format version."""


class ArtifactMismatch(TopaError):
    """Two artifacts don't fit each other: another encoder, another width, another base model."""

    exit_code = 2


class MissingVideos(TopaError):
    """All videos of a library are gone at once: they were moved, or their disk isn't mounted."""


class WorkerError(TopaError):
    """A worker of a cluster failed; the message has its own words."""


class AllFailed(TopaError):
    """A run was through with everything, and everything failed."""


class OutputError(TopaError):
    """A result can't be written where it was asked for."""
