"""The help of a group of verbs: under headings, in the order in which one meets them, and never cut."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

GROUPS = {
    "Try it": ("demo", "ask", "caption", "explain"),
    "Your videos": ("index", "search", "when", "adapt"),
    "Train": ("align", "finetune", "runs"),
    "Data": ("seeds", "generate", "merge", "clean", "card", "export", "encode", "memory", "import"),
    "Measure": ("evaluate", "compare", "reproduce"),
    "Serve": ("serve",),
    "Settings": ("config",),
}
"""The verbs of `topa`, by heading."""
SUBGROUPS = {
    "import": ("Bring in what others have made.", "topa import checkpoint --help"),
    "memory": ("Build a memory of captions, and look into one.", "topa memory build --help"),
}
"""What stands in the help of verbs that have verbs of their own."""
_HEADINGS = {name: heading for heading, names in GROUPS.items() for name in names}


class GroupedHelp(TyperGroup):
    """A group whose help shows the whole summary of each verb, however wide the terminal is."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All verbs; those of `topa` in the order of the headings, and those of no heading last."""
        if ctx.parent is not None:
            return list(self.commands)
        order = list(_HEADINGS)
        return sorted(self.commands, key=lambda name: order.index(name) if name in order else len(order))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the verbs under their headings."""
        headings: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            if not self.commands[name].hidden:
                heading = "Commands" if ctx.parent else _HEADINGS.get(name, "Commands")
                headings.setdefault(heading, []).append((name, _summary(self.commands[name])))
        for heading, rows in headings.items():
            with formatter.section(heading):
                formatter.write_dl(rows)


def _summary(command: Any) -> str:
    """The first sentence of a command's help, which is its docstring."""
    return str(command.get_short_help_str(limit=10_000))
