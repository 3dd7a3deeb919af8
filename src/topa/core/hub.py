"""Resolve model names: a local folder, or a Hugging Face Hub repository, `org/name` or `org/name@revision`.

The one place that tells the two apart and that downloads. A revision is a branch, a tag or a commit.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from .errors import ArtifactError, InputError, UsageError

log = logging.getLogger(__name__)
_LOOKS_LIKE_A_PATH = re.compile(r"[./~]|[A-Za-z]:|.*\\")
_REVISION = re.compile(r"[\w][\w./-]*")


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository on the Hub. revision: None for the newest."""

    id: str
    revision: str | None = None

    def __str__(self) -> str:
        return self.id if self.revision is None else f"{self.id}@{self.revision}"


def locate(name: str | Path, what: str, *, revision: str | None = None) -> Path | Repository:
    """Return the folder or repository that a name refers to.

    An existing path is always that path, whatever its name; a missing path is never taken for a repository.
    what: a description of what is expected, for error messages.
    Raises InputError for a path that doesn't exist, UsageError for an invalid repository name.
    """
    text = str(name)
    path = Path(text).expanduser()
    if text.strip() and path.exists():
        if revision is not None:
            raise UsageError(f"{text}: found revision={revision!r} for a folder; expected a repository. Leave it out.")
        return path
    repository, at, behind = text.partition("@")
    if isinstance(name, Path) or _LOOKS_LIKE_A_PATH.match(repository) or repository.count("/") > 1 or not text.strip():
        raise _no_folder(text or "an empty name", what)
    if at and revision not in (None, behind):
        raise UsageError(f"{text}: found another revision beside it, {revision!r}; expected one. Leave one out.")
    _check(text, repository, behind if at else revision)
    return Repository(repository, behind if at else revision)


def locate_saved(name: str | Path, revision: str | None = None) -> Path | Repository:
    """Apply `locate` to a model saved by topa, which on the Hub always has an owner: `org/name`."""
    what = "a model saved by topa"
    place = locate(name, what, revision=revision)
    if isinstance(place, Repository) and "/" not in place.id:
        raise _no_folder(str(name), what)
    return place


def download(repository: Repository, patterns: list[str] | None = None) -> Path:
    """Return the folder of a repository's files, downloading them if they aren't cached.

    patterns: glob patterns of the files to download; None for all. Raises ArtifactError if that fails.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RevisionNotFoundError

    try:
        folder = snapshot_download(repository.id, revision=repository.revision, allow_patterns=patterns)
    except RevisionNotFoundError as error:
        raise ArtifactError(
            f"{repository}: the repository has no revision {repository.revision!r}; expected a branch, a tag or a "
            f"commit. Look at {constants.ENDPOINT}/{repository.id}/commits/main"
        ) from error
    except GatedRepoError as error:
        raise ArtifactError(
            f"{repository}: its owners let only those have it who asked. Ask at {constants.ENDPOINT}/{repository.id}, "
            "then log in: hf auth login"
        ) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        if constants.HF_HUB_OFFLINE:
            raise ArtifactError(
                f"{repository}: found neither a folder nor a copy in {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE "
                f"forbids to ask the hub; expected one of them. Unset HF_HUB_OFFLINE, or copy it here where there is a "
                f"network: {_command(repository)}"
            ) from error
        raise ArtifactError(
            f"{repository}: found neither a folder nor a repository on the hub ({str(error).splitlines()[0]}). Check "
            f"the name and the network; a private one needs a login: hf auth login"
        ) from error
    log.info("%s from %s", repository, folder)
    return Path(folder)


def _no_folder(name: str, what: str) -> InputError:
    return InputError(
        f"{name}: found no such folder; expected {what}: a folder, or a repository on the hub, as org/name or "
        "org/name@revision. Check the name."
    )


def _check(text: str, repository: str, revision: str | None) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise UsageError(
            f"{text}: found no such folder, and it can be no repository on the hub ({str(error).splitlines()[0]}). "
            "Expected org/name or org/name@revision."
        ) from error
    if revision is not None and not _REVISION.fullmatch(revision):
        raise UsageError(
            f"{text}: found the revision {revision!r}; expected a branch, a tag or a commit: org/name@revision."
        )


def _command(repository: Repository) -> str:
    revision = "" if repository.revision is None else f" --revision {repository.revision}"
    return f"hf download {repository.id}{revision}"
