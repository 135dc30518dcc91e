"""The real serving room over a fake backend, and the real arena over both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from studio.arena import ArenaService, Battle, BattleStarted, Contender, Matchup
from studio.core import LOCAL_ADMIN, Actor, Audit, Database, Lineage, Role, Settings
from studio.serving import ServingService, VariantSpec
from tests.unit.arena.fakes import BASE, TUNED, FakeBackend, FakeRegistry

ANA = Actor("ana", Role.STAKEHOLDER)
BEN = Actor("ben", Role.STAKEHOLDER)


@dataclass(frozen=True)
class World:
    database: Database
    backend: FakeBackend
    lineage: Lineage
    audit: Audit
    serving: ServingService
    arena: ArenaService

    def matchup(self, *, blind: bool = True) -> Matchup:
        return Matchup(Contender(BASE), Contender(TUNED), blind)

    def begin(self, *, blind: bool = True) -> str:
        return self.arena.begin(LOCAL_ADMIN, self.matchup(blind=blind))

    def ask(self, conversation: str, text: str = "What is a LoRA?", actor: Actor = LOCAL_ADMIN) -> Battle:
        events = list(self.arena.turn(actor, conversation, text))
        assert isinstance(events[0], BattleStarted)
        return self.arena.battle(actor, events[0].battle_id)

    def fight(self, *, blind: bool = True) -> Battle:
        return self.ask(self.begin(blind=blind))

    def deploy(self, name: str = "assistant", *extra: VariantSpec) -> None:
        variants = (
            VariantSpec("control", BASE, 1.0),
            VariantSpec("candidate", TUNED, 3.0, system_prompt="Be brief."),
            *extra,
        )
        self.serving.deploy(LOCAL_ADMIN, name, variants)

    def fight_in(self, deployment: str, *, blind: bool = True) -> Battle:
        matchup = self.arena.deployment_matchup(LOCAL_ADMIN, deployment, blind=blind)
        return self.ask(self.arena.begin(LOCAL_ADMIN, matchup))

    def model_on(self, battle: Battle, side: str) -> str:
        """Who really stood there, as only the database tells while it is hidden."""
        row = self.database.row(
            "SELECT model_version_id FROM sides WHERE battle_id = ? AND side = ?", (battle.id, side)
        )
        assert row is not None
        return str(row["model_version_id"])


def build_world(database: Database, home: Path, settings: Settings) -> World:
    lineage, audit, backend = Lineage(database), Audit(database), FakeBackend()
    registry = FakeRegistry()
    serving = ServingService(database, home, registry, lineage, audit, settings, backend=backend)
    arena = ArenaService(database, serving, registry, lineage, audit)
    serving.hide_when(arena.hides, arena.hidden)
    return World(database, backend, lineage, audit, serving, arena)
