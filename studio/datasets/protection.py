"""Protected prompts: what models and people are measured with is never trained on.

The invariant: no version that the studio builds has a protected prompt among its training rows, and no
run starts on one that has. What a person imports is stored, and its report counts such rows.
Two prompts are the same if ``canonical.prompt_key`` says so; a prompt in other words is another prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from studio.core.actors import Actor
from studio.core.errors import InvalidInput
from studio.datasets.canonical import Row, key_digest, prompt_key
from studio.datasets.making import CheckedRows, check_new_version
from studio.datasets.parquet_files import read_rows
from studio.datasets.protection_store import Protection, ProtectionStore
from studio.datasets.records import DatasetVersion, NewVersion, Split

#: Why rows of a build were left out.
PROTECTED = "its prompt is used for evaluation or as gold"

_NAMED = 10
_SHOWN_CHARACTERS = 120


@dataclass
class Shield:
    """The protected prompts, held up against rows that go by; ``met`` are those that it stopped."""

    digests: frozenset[bytes]
    met: dict[str, None] = field(default_factory=dict)
    rows: int = 0

    def stops(self, row: Row) -> bool:
        """Whether a row must not be trained on."""
        if not self.digests:
            return False
        key = prompt_key(row)
        if key_digest(key) not in self.digests:
            return False
        self.met[key] = None
        self.rows += 1
        return True


class PromptGuard:
    """Knows the protected prompts.

    Args:
        name_of: What an actor may call the version with an id.
    """

    def __init__(self, store: ProtectionStore, name_of: Callable[[Actor, str], str]) -> None:
        self._store = store
        self._name_of = name_of

    def protect(self, actor: Actor, version: DatasetVersion, splits: Iterable[Split], purpose: str) -> int:
        """Protect the prompts of some splits; how many splits were not protected for this before."""
        fresh = [Protection(version.id, split, purpose) for split in splits]
        fresh = [protection for protection in fresh if not self._store.known(protection)]
        for protection in fresh:
            rows = read_rows(version.file(protection.split))
            self._store.add(protection, {key_digest(prompt_key(row)) for row in rows}, actor.name)
        return len(fresh)

    def protected(self, actor: Actor, keys: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Those of ``keys`` that are protected, and what protects each, in words."""
        found = {key: self._store.of(key_digest(key)) for key in keys}
        return {key: tuple(self._words(actor, by)) for key, by in found.items() if by}

    def shield(self) -> Shield:
        """All protected prompts, to hold against rows."""
        return Shield(self._store.all())

    def refusal(self, actor: Actor, dataset: str, keys: Collection[str]) -> InvalidInput:
        """The error that says which prompts cannot be trained on, and what protects them."""
        named = self.protected(actor, list(keys)[:_NAMED])
        details = [f"{key[:_SHOWN_CHARACTERS]!r}: {'; '.join(words)}" for key, words in named.items()]
        if len(keys) > _NAMED:
            details.append(f"and {len(keys) - _NAMED:,} more")
        many = f"{len(keys):,} prompts" if len(keys) != 1 else "1 prompt"
        return InvalidInput(
            f"{many} of {dataset} would be trained on, and models or people are measured with them.",
            "Leave the protected prompts out, or build it without these rows.",
            tuple(details),
        )

    def clear(
        self, actor: Actor, dataset: str, rows: Mapping[Split, list[Row]], *, leave_out: bool
    ) -> tuple[dict[Split, list[Row]], Shield]:
        """The rows without protected prompts among those to train on, and what was stopped.

        Raises:
            InvalidInput: There are some, and ``leave_out`` is False.
        """
        shield = self.shield()
        train = [row for row in rows.get(Split.TRAIN, ()) if not shield.stops(row)]
        if shield.met and not leave_out:
            raise self.refusal(actor, dataset, shield.met)
        return {**rows, Split.TRAIN: train}, shield

    def cleared(self, actor: Actor, new: NewVersion, *, leave_out: bool) -> tuple[NewVersion, CheckedRows]:
        """A new version with its rows checked, none of them on a protected prompt to train on.

        Raises:
            InvalidInput: A row is not canonical, or ``clear`` refuses.
        """
        checked = check_new_version(new)
        rows, shield = self.clear(actor, new.dataset, checked.rows, leave_out=leave_out)
        if not shield.rows:
            return new, checked
        step = {"step": "leave out protected prompts", "rows": shield.rows}
        fewer = replace(new, rows=rows, steps=(*new.steps, step))
        return fewer, check_new_version(fewer)

    def refusal_of(self, actor: Actor, version: DatasetVersion) -> InvalidInput | None:
        """The error that says why a version must not be trained on; None where it may.

        Only its training rows count: that its own held-out rows are measured with is what they are for.
        """
        shield = self.shield()
        if shield.digests:
            for row in read_rows(version.file(Split.TRAIN)):
                shield.stops(row)
        return self.refusal(actor, version.reference, shield.met) if shield.met else None

    def _words(self, actor: Actor, protections: Iterable[Protection]) -> Iterator[str]:
        for protection in protections:
            yield f"{protection.purpose} ({self._name_of(actor, protection.version_id)})"
