"""The Review page: what a lead reads, decides, takes out and brings in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from pages import review, review_exchange, review_inbox
from pages.components.review_charts import panels
from pages.roles import ROLES
from studio.annotation import Task
from studio.core import LOCAL_ADMIN, Actor, Forbidden, InvalidInput, Role
from studio.studio import Studio
from tests.pages.conftest import visiting
from tests.pages.reviewing import ANA, BEN, CAI, divided, label_all, open_pairs

HEAD, CHARTS, BELOW, INBOX, EXCHANGE, OFFERS = range(6)


def _view(studio: Studio, **asked: str) -> tuple[Any, ...]:
    return review.view(studio, visiting(tab="review", **asked))


def _said(case: dict[str, Any], verdict: str, **more: Any) -> gr.EventData:
    said = {"project": case["project"], "item": case["id"], "nonce": "n1", "verdict": verdict, "comment": ""}
    return gr.EventData(None, said | more)


def test_without_a_project_the_page_says_how_to_begin(studio: Studio) -> None:
    found = _view(studio)
    assert "No project yet" in found[HEAD]
    assert found[CHARTS] == {"panels": []}
    assert found[INBOX] == {"project": ""}


def test_the_list_shows_each_project_and_escapes_its_name(studio: Studio) -> None:
    project = divided(studio)
    head = _view(studio)[HEAD]
    assert f"project={project.id}" in head
    assert "36 of 36" in head
    assert "<i>" not in head
    assert "Which is &lt;i&gt;better" in head


def test_the_dashboard_of_a_new_project_says_what_is_missing(studio: Studio) -> None:
    project = open_pairs(studio)
    found = _view(studio, project=project.id)
    assert "0" in found[HEAD]
    assert "Nobody has labelled anything yet" in found[HEAD]
    assert [panel["traces"] for panel in found[CHARTS]["panels"]] == [(), ()]


def test_the_dashboard_counts_and_names_people(studio: Studio) -> None:
    project = divided(studio)
    found = _view(studio, project=project.id)
    assert "of 36 needed, 100%" in found[HEAD]
    assert "view=inbox" in found[HEAD]
    for name in ("ana", "ben", "cai"):
        assert name in found[BELOW]
    labels, agreement = found[CHARTS]["panels"]
    assert labels["traces"][1]["y"][-1] == 36
    assert agreement["traces"] == ()
    assert "alpha is" in agreement["caption"].lower()


def test_agreement_over_time_is_drawn_with_its_interval(studio: Studio) -> None:
    project = open_pairs(studio, items=50, overlap=2)
    label_all(studio, project, ANA, wrong=range(0, 50, 2))
    label_all(studio, project, CAI, wrong=range(0, 50, 3))
    agreement = _view(studio, project=project.id)[CHARTS]["panels"][1]
    line = agreement["traces"][-1]
    assert len(line["x"]) == len(line["y"]) >= 2
    low, high = agreement["traces"][0]["y"], agreement["traces"][1]["y"]
    assert all(one <= middle <= other for one, middle, other in zip(low, line["y"], high, strict=True))
    assert "95% interval" in agreement["caption"]


def test_a_tick_renews_the_dashboard_and_leaves_work_alone(studio: Studio) -> None:
    project = divided(studio)
    renewed = review.refreshed(studio, visiting(tab="review", project=project.id))
    assert "of 36 needed" in renewed[HEAD]
    working = review.refreshed(studio, visiting(tab="review", project=project.id, view="inbox"))
    assert working == (gr.skip(),) * 3


def test_every_colour_of_a_chart_is_one_of_ours(studio: Studio) -> None:
    project = divided(studio)
    text = json.dumps([panel.traces for panel in panels(studio.review.dashboard(LOCAL_ADMIN, project.id))])
    assert "#" not in text
    assert "--tandem-run-1" in text


def test_the_inbox_shows_both_answers_with_what_people_said_from_that_side(studio: Studio) -> None:
    project = divided(studio)
    inbox = _view(studio, project=project.id, view="inbox")[INBOX]
    assert (inbox["project"], inbox["total"], len(inbox["cases"])) == (project.id, 4, 4)
    for case in inbox["cases"]:
        good = "a" if case["a"][0]["content"].startswith("Good") else "b"
        said = {voice["person"]: voice["side"] for voice in case["voices"]}
        assert said["ana"] == said["ben"] == good
        assert said["cai"] != good
        assert f"{good.upper()} is better" in case["consensus"]


def test_a_decision_leaves_the_inbox_and_is_stored_once(studio: Studio) -> None:
    project = divided(studio)
    inbox = _view(studio, project=project.id, view="inbox")[INBOX]
    case = inbox["cases"][0] | {"project": project.id}
    for _ in range(2):
        after = review_inbox.decide(studio, _said(case, "tie", comment="Both say the same."))
        assert (after["stored"], after["problem"], after["total"]) == (case["id"], None, 3)
        assert case["id"] not in [one["id"] for one in after["cases"]]
    (made,) = studio.review.adjudications(LOCAL_ADMIN, project.id)
    assert (made.verdict, made.comment, made.adjudicator) == ("tie", "Both say the same.", "local")
    again = review_inbox.decide(studio, _said(case, "a", nonce="n2"))
    assert again["stored"] == case["id"]
    assert studio.review.adjudications(LOCAL_ADMIN, project.id)[0].verdict == "a"


@pytest.mark.parametrize("verdict", ["edited", "best", 3, None])
def test_a_decision_that_says_nothing_comes_back_with_its_reason(studio: Studio, verdict: Any) -> None:
    project = divided(studio)
    case = _view(studio, project=project.id, view="inbox")[INBOX]["cases"][0] | {"project": project.id}
    after = review_inbox.decide(studio, _said(case, verdict))
    assert after["problem"]["id"] == case["id"]
    assert after["problem"]["words"]
    assert after["total"] == 4
    assert studio.review.adjudications(LOCAL_ADMIN, project.id) == ()


def test_ratings_are_decided_with_two_numbers(studio: Studio) -> None:
    project = open_pairs(studio, items=3, overlap=2, task=Task.RATING)
    label_all(studio, project, ANA)
    label_all(studio, project, CAI, wrong=range(3))
    inbox = _view(studio, project=project.id, view="inbox")[INBOX]
    assert (inbox["rated"], inbox["choices"]) == (["a", "b"], [])
    case = inbox["cases"][0] | {"project": project.id}
    assert "5 of 5" in case["voices"][0]["words"]
    assert review_inbox.decide(studio, _said(case, None, rating_a=6, rating_b=1))["problem"]
    assert review_inbox.decide(studio, _said(case, None, rating_a="5", rating_b=1))["problem"]
    assert review_inbox.decide(studio, _said(case, None, rating_a=5, rating_b=1))["stored"] == case["id"]


def test_who_does_not_lead_reads_nothing(studio: Studio) -> None:
    project = divided(studio)
    theirs = studio.acting(BEN)
    found = _view(theirs, project=project.id)
    assert "do not lead" in found[HEAD]
    assert "cai" not in str(found)
    outside = studio.acting(Actor("sam", Role.STAKEHOLDER))
    assert "td-bad" in review.view(outside, visiting(tab="review"))[HEAD]
    with pytest.raises(Forbidden):
        review_inbox.decide(outside, gr.EventData(None, {"project": project.id}))
    for name in ("review", "review_tick", "review_decide", "review_dataset", "review_import"):
        assert ROLES[name] == (Role.RESEARCHER,)


def test_the_consensus_stands_least_certain_first_and_is_paged(studio: Studio) -> None:
    project = open_pairs(studio, items=60, overlap=1)
    label_all(studio, project, ANA)
    below = _view(studio, project=project.id, view="consensus")[BELOW]
    assert "60 items" in below
    assert "1 to 50 of 60" in below
    assert "from=51" in below
    assert "51 to 60 of 60" in _view(studio, project=project.id, view="consensus", **{"from": "51"})[BELOW]
    assert "&lt;b&gt;" in below
    assert "<b>" not in below
    for odd in ("x", "-1", "0", "99999999999"):
        assert "of 60" in _view(studio, project=project.id, view="consensus", **{"from": odd})[BELOW]


def test_an_adjudicated_item_is_marked_in_the_consensus(studio: Studio) -> None:
    project = divided(studio)
    case = _view(studio, project=project.id, view="inbox")[INBOX]["cases"][0] | {"project": project.id}
    review_inbox.decide(studio, _said(case, "both_bad"))
    below = _view(studio, project=project.id, view="consensus")[BELOW]
    assert below.count("adjudicated") == 1
    assert "Both bad" in below


def test_the_export_offers_every_file_and_makes_a_dataset(studio: Studio) -> None:
    project = divided(studio)
    found = _view(studio, project=project.id, view="export")
    assert found[EXCHANGE]["visible"] is True
    for what in ("labels", "consensus", "preferences"):
        for form in ("jsonl", "parquet", "csv"):
            assert f"../annotation/{project.id}/export/{what}?format={form}" in found[OFFERS]
            leaves = f"preferences?format={form}&amp;leave_out_protected=true"
            assert leaves in found[OFFERS]
    assert "Protected prompts (of evaluations and gold) are left out." in found[OFFERS]
    asking = visiting(tab="review", project=project.id)
    made = review_exchange.make_dataset(studio, asking, name="from-people", leave_out=False)
    assert "from-people@1" in made
    assert studio.datasets.version(LOCAL_ADMIN, "from-people").total_rows >= 8
    refused = review_exchange.make_dataset(studio, asking, name="not a name!", leave_out=False)
    assert "td-bad" in refused


def test_an_import_names_every_row_that_it_did_not_take(studio: Studio, tmp_path: Path) -> None:
    project = open_pairs(studio, items=3, overlap=2)
    path = tmp_path / "labels.jsonl"
    good = {"prompt": "Question <b>0</b>?", "chosen": "Good answer 0.", "rejected": "Poor answer 0."}
    rows = [good | {"annotator": "ext"}, {"prompt": "<script>", "annotator": "ext"}, {"annotator": "ext"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asking = visiting(tab="review", project=project.id)
    found = review_exchange.import_labels(studio, asking, upload=str(path))
    assert "1 label added" in found
    assert "2 rows not taken" in found
    assert "<script>" not in found
    assert "No file was chosen" in review_exchange.import_labels(studio, asking, upload=None)
    assert "td-bad" in review_exchange.import_labels(studio, asking, upload=str(tmp_path / "gone.jsonl"))


def test_a_project_that_people_write_in_has_nothing_to_decide(studio: Studio) -> None:
    project = open_pairs(studio, task=Task.EDIT)
    found = _view(studio, project=project.id, view="inbox")
    assert found[INBOX] == {"project": ""}
    assert "no disagreement to decide" in found[BELOW]


def test_a_rating_must_be_a_whole_number() -> None:
    with pytest.raises(InvalidInput, match="whole number"):
        review_inbox._decision({"rating_a": True, "rating_b": 2})
