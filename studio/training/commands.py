"""The command that reproduces a run: its recipe with every version named exactly, and how to start it."""

from __future__ import annotations

import shlex

from studio.training.recipes import Recipe, dump_recipe
from studio.training.store import Entry


def reproduction(entry: Entry, exact: Recipe) -> str:
    """What to type in a shell to run the same again on this studio's home.

    Args:
        entry: The run.
        exact: Its recipe with versions in place of names that move.
    """
    file = f"{entry.id}.yaml"
    packages = ", ".join(f"{name} {version}" for name, version in sorted(entry.packages.items()))
    lines = [
        f"# {entry.name}: {entry.stage.value.upper()}, seed {entry.seed}.".replace("\n", " "),
        f"# It ran with {packages}.",
        f"cat > {file} <<'RECIPE'",
        # No line of a dumped recipe is the bare word that ends it: each is a field or a list's item.
        dump_recipe(exact).rstrip("\n"),
        "RECIPE",
        f"python -m studio train {file} --name {shlex.quote(entry.name)}",
    ]
    return "\n".join(lines) + "\n"
