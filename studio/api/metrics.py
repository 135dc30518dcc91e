"""Prometheus text: read from the database at each scrape, so a restart loses no count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from studio.api.context import Scope, TheActor, TheStudio, allow
from studio.core import Actor, Role
from studio.studio import Studio

router = APIRouter(tags=["health"])


@router.get("/metrics", response_class=Response, dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def metrics(studio: TheStudio, actor: TheActor) -> Response:
    """Counts of jobs, runs, answers, votes and model servers."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_StudioCollector(studio, actor))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _StudioCollector(Collector):
    """Reads the services when Prometheus asks."""

    def __init__(self, studio: Studio, actor: Actor) -> None:
        self._studio = studio
        self._actor = actor

    def collect(self) -> Iterator[Metric]:
        studio, actor = self._studio, self._actor
        runs = Counter((r.stage.value, r.state.value) for r in studio.training.list(actor, 10_000))
        yield _family("tandem_runs", "Training runs by stage and state.", ("stage", "state"), runs)
        jobs = Counter((j.kind, j.state.value) for j in studio.jobs.list(actor, limit=10_000))
        yield _family("tandem_jobs", "Background jobs by kind and state.", ("kind", "state"), jobs)
        engines = Counter((e.base_id, e.state) for e in studio.serving.engines(actor))
        yield _family("tandem_engines", "Model servers by base and state.", ("base", "state"), engines)
        answers = CounterMetricFamily(
            "tandem_answers", "Answers by deployment and variant.", labels=("deployment", "variant")
        )
        for deployment in studio.serving.deployments(actor):
            for variant, count in studio.serving.variant_answers(actor, deployment.name).items():
                answers.add_metric((deployment.name, variant), count)
        yield answers
        votes = CounterMetricFamily("tandem_votes", "Verdicts by outcome.", labels=("outcome",))
        for outcome, count in sorted(studio.arena.outcomes(actor).items()):
            votes.add_metric((outcome.value,), count)
        yield votes


def _family(
    name: str, text: str, labels: tuple[str, ...], counts: Counter[tuple[str, str]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, count in sorted(counts.items()):
        family.add_metric(key, count)
    return family
