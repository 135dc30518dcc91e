"""What a project's lead reads and writes: estimates about people, consensus, disagreements, adjudications.

An estimate that does not exist has no value and says why in words; it is never NaN. Standings and ratings
here are in the item's own terms (first and second answer) unless a field says side A or B.
"""

from __future__ import annotations

from dataclasses import dataclass

from studio.annotation.records import Project, Standing, Verdict
from studio.datasets import Message, RejectedRow
from studio.stats import Interval


@dataclass(frozen=True)
class Estimate:
    """A number that stands on ``count`` observations.

    ``value`` is None where nothing can be estimated, and ``why`` says so in a sentence; ``interval`` is
    None where there is too little for one.
    """

    value: float | None
    interval: Interval | None
    count: int
    why: str = ""


@dataclass(frozen=True)
class PersonReport:
    """One annotator as the lead sees them.

    Attributes:
        labels: Standing labels on data items, skips left out.
        median_seconds: Active time a label, in seconds; None where none was measured.
        gold: Share of gold items answered as known.
        position: Share of A among the labels that chose A or B; 0.5 without bias.
        consistency: Share of repeated items answered as the first time.
        agreement: Share of others' labels on the same items that say the same.
        last_at: When they last labelled, seconds since the epoch.
        flags: What the lead should look at, each a sentence.
        erased: The account is gone and ``name`` is a pseudonym.
    """

    name: str
    labels: int
    skipped: int
    median_seconds: float | None
    gold: Estimate
    position: Estimate
    consistency: Estimate
    agreement: Estimate
    last_at: float
    flags: tuple[str, ...] = ()
    erased: bool = False


@dataclass(frozen=True)
class DayCount:
    """How much was labelled on one day: ``start`` is its midnight UTC, ``total`` includes all days before."""

    start: float
    labels: int
    total: int


@dataclass(frozen=True)
class AgreementPoint:
    """Alpha of the items that were finished between two moments (seconds since the epoch)."""

    start: float
    end: float
    items: int
    alpha: Estimate


@dataclass(frozen=True)
class PairAgreement:
    """Cohen's kappa of two people over the items that both labelled (``kappa.count``)."""

    first: str
    second: str
    kappa: Estimate


@dataclass(frozen=True)
class StandingCount:
    """How often a standing was given, skips included."""

    standing: Standing
    labels: int


@dataclass(frozen=True)
class Dashboard:
    """A project at a glance.

    Attributes:
        at: When it was computed, seconds since the epoch.
        labels: Standing labels on data items, skips left out.
        needed: Labels that the project asks for.
        finished: Items that have all their labels.
        skips: Standing skips.
        divided: Finished items whose labels do not agree and that nobody has decided yet.
        adjudicated: Items that were decided by an adjudicator.
        scale: How verdicts are compared: ``nominal`` or ``ordinal``.
        alpha: Krippendorff's alpha over all items with at least two labels.
    """

    project: Project
    at: float
    labels: int
    needed: int
    finished: int
    skips: int
    divided: int
    adjudicated: int
    standings: tuple[StandingCount, ...]
    days: tuple[DayCount, ...]
    people: tuple[PersonReport, ...]
    scale: str
    alpha: Estimate
    alpha_over_time: tuple[AgreementPoint, ...]
    kappas: tuple[PairAgreement, ...]


@dataclass(frozen=True)
class Consensus:
    """What the labels of an item come to.

    Attributes:
        probability: That the standing is right, by the Dawid-Skene model; None where the project has no
            item that two people labelled, so that nobody's errors can be known. An adjudicated item has 1.
        people: How many labelled it, skips left out.
        agreement: Share of its labels that give this standing.
        label_ids: The labels it stands on.
        adjudication_id: The adjudication that decided it; empty for none.
        rating_first: Mean rating of the first answer, 1 to 5, for ratings; likewise ``rating_second``.
    """

    position: int
    item_id: str
    standing: Standing
    probability: float | None
    people: int
    agreement: float
    label_ids: tuple[str, ...]
    adjudication_id: str = ""
    rating_first: float | None = None
    rating_second: float | None = None


@dataclass(frozen=True)
class Voice:
    """One label of a disputed item, with sides as the adjudicator sees them."""

    person: str
    verdict: Verdict
    strength: int | None
    rating_a: int | None
    rating_b: int | None
    comment: str
    better_answer: str
    labelled_at: float


@dataclass(frozen=True)
class Adjudication:
    """A decision over an item's labels; the newest of an item counts.

    ``verdict`` is what the adjudicator said, ``first_side`` where the first answer stood for them.
    ``own_label`` says that the adjudicator had labelled the item too, because nobody else could decide.
    """

    id: str
    project_id: str
    item_id: str
    position: int
    verdict: Verdict
    first_side: str
    rating_a: int | None
    rating_b: int | None
    comment: str
    better_answer: str
    adjudicator: str
    own_label: bool
    supersedes: str | None
    at: float

    @property
    def standing(self) -> Standing:
        """The verdict in the item's own terms."""
        if self.verdict in (Verdict.A, Verdict.B):
            return Standing.FIRST if self.verdict.value == self.first_side else Standing.SECOND
        return Standing(self.verdict.value)

    @property
    def ratings(self) -> tuple[int | None, int | None]:
        """The ratings of the first and the second answer."""
        return (self.rating_a, self.rating_b) if self.first_side == "a" else (self.rating_b, self.rating_a)


@dataclass(frozen=True)
class Disagreement:
    """An item whose people do not agree, as one adjudicator sees it; ``b`` is empty with one answer.

    Attributes:
        consensus: The most probable standing in the item's own terms, and its ``probability``.
        refusal: Why this actor may not decide it; empty where they may.
        own_label: The actor labelled it too; a decision will say so.
    """

    project_id: str
    item_id: str
    prompt: tuple[Message, ...]
    a: tuple[Message, ...]
    b: tuple[Message, ...]
    first_side: str
    voices: tuple[Voice, ...]
    consensus: Standing
    probability: float | None
    refusal: str = ""
    own_label: bool = False


@dataclass(frozen=True)
class NewAdjudication:
    """A decision to store; sides are those that ``Disagreement`` showed, ``nonce`` makes a retry harmless.

    For ratings ``rating_a`` and ``rating_b`` decide (``verdict`` may be None); otherwise ``verdict`` does.
    """

    project_id: str
    item_id: str
    nonce: str
    verdict: Verdict | None = None
    rating_a: int | None = None
    rating_b: int | None = None
    comment: str = ""
    better_answer: str = ""


@dataclass(frozen=True)
class ImportedLabels:
    """What became of a file of labels: how many were added, and every row that was not, with its reason.

    ``ignored`` names the columns that mean nothing here.
    """

    added: int
    rejected: tuple[RejectedRow, ...]
    ignored: tuple[str, ...] = ()
