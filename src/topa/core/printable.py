"""What a verb gives: one value that can be printed for people, and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

if TYPE_CHECKING:
    from rich.console import RenderableType

T = TypeVar("T")


class Note(str):
    """A line about something that is good to know; it goes to stderr."""


class Hint(str):
    """A line about what can be done next; it stands below the results."""


class Printable:
    """Base of what verbs give. indent: of its JSON; None prints it as a line."""

    indent: ClassVar[int | None] = 1

    @property
    def failure(self) -> BaseException | None:
        """What is raised once it has been printed, where the work failed all the same."""
        return None

    def as_json(self) -> Any:
        """Return what `json.dumps` takes together with `plain`."""
        return plain(self)

    def lines(self) -> Iterator[RenderableType]:
        """Yield what people read, in the order in which it is printed: lines, notes, hints and tables."""
        raise NotImplementedError

    def printed(self, *, as_json: bool) -> Iterator[RenderableType]:
        """Yield all that is printed, then raise the failure, if there is one."""
        if as_json:
            yield json.dumps(self.as_json(), indent=self.indent, ensure_ascii=False, default=plain)
        else:
            yield from self.lines()
        if self.failure is not None:
            raise self.failure


@dataclass(frozen=True)
class Printout(Printable, Generic[T]):
    """A value with what people read of it. data: what programs read, where that isn't the value."""

    value: T
    text: Iterable[RenderableType]
    data: Any = None

    def as_json(self) -> Any:
        """Return what programs read."""
        return self.value if self.data is None else self.data

    def lines(self) -> Iterator[RenderableType]:
        """Yield what people read."""
        yield from self.text


def plain(value: Any) -> Any:
    """Turn what JSON doesn't know into what it does: models and dataclasses into dictionaries, paths into texts."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)
