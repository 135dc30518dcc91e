from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from crowdkit.aggregation import DawidSkene as Oracle

from studio.stats import Labels, dawid_skene


def crowd(seed: int, items: int = 120, each: int = 4, people: int = 8) -> tuple[Labels, np.ndarray]:
    """Labels in three categories by people of whom the last is worst, and the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, items)
    skill = np.linspace(0.95, 0.4, people)
    who = np.stack([rng.permutation(people)[:each] for _ in range(items)])
    what = np.repeat(np.arange(items), each)
    who = who.reshape(-1)
    right = rng.random(len(who)) < skill[who]
    said = np.where(right, truth[what], rng.integers(0, 3, len(who)))
    return Labels(what, who, said), truth


def frame(labels: Labels) -> pd.DataFrame:
    return pd.DataFrame({"task": labels.items, "worker": labels.people, "label": labels.values})


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.filterwarnings("ignore")
def test_probabilities_are_what_another_library_says(seed: int) -> None:
    labels, _ = crowd(seed)
    ours = dawid_skene(labels, (120, 8, 3), rounds=60, tolerance=0.0)
    theirs = Oracle(n_iter=60, tol=-1.0).fit(frame(labels))
    expected = theirs.probas_.sort_index()[[0, 1, 2]].to_numpy()
    # After the same number of rounds from the same start; theirs stops where its bound stops growing.
    assert np.abs(ours.probabilities - expected).max() < 1e-3
    assert (ours.probabilities.argmax(axis=1) == expected.argmax(axis=1)).all()
    errors = theirs.errors_
    for person in range(8):
        table = errors.loc[person].reindex([0, 1, 2]).fillna(0.0)[[0, 1, 2]].to_numpy()
        assert np.abs(ours.confusion[person].T - table).max() < 1e-3


@pytest.mark.filterwarnings("ignore")
def test_known_items_are_held_as_in_the_other_library() -> None:
    labels, truth = crowd(9)
    known = np.where(np.arange(120) < 30, truth, -1)
    ours = dawid_skene(labels, (120, 8, 3), known=known, rounds=60, tolerance=0.0)
    theirs = Oracle(n_iter=60, tol=-1.0).fit(frame(labels), true_labels=pd.Series(truth[:30], range(30)))
    expected = theirs.probas_.sort_index()[[0, 1, 2]].to_numpy()
    assert np.abs(ours.probabilities - expected).max() < 1e-3
    assert (ours.probabilities[:30].argmax(axis=1) == truth[:30]).all()
    assert (ours.probabilities[:30].max(axis=1) == 1.0).all()


def test_it_beats_the_majority_where_people_differ_in_skill() -> None:
    better = worse = 0
    for seed in range(20):
        labels, truth = crowd(seed, items=300, each=5)
        found = dawid_skene(labels, (300, 8, 3), smoothing=0.1).probabilities.argmax(axis=1)
        votes = np.zeros((300, 3))
        np.add.at(votes, (labels.items, labels.values), 1)
        ours, majority = (found == truth).mean(), (votes.argmax(axis=1) == truth).mean()
        better += ours > majority
        worse += ours < majority
    assert better > 3 * worse


def test_it_finds_who_errs_and_how() -> None:
    labels, _ = crowd(1, items=2000, each=5)
    found = dawid_skene(labels, (2000, 8, 3), smoothing=0.1)
    right = np.trace(found.confusion, axis1=1, axis2=2) / 3
    # A person of skill s is right with s + (1 - s) / 3.
    expected = np.linspace(0.95, 0.4, 8) * 2 / 3 + 1 / 3
    assert np.abs(right - expected).max() < 0.06


def test_someone_who_says_the_opposite_is_understood() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 200)
    said = np.stack([np.where(rng.random(200) < 0.9, truth, 1 - truth) for _ in range(3)] + [1 - truth])
    labels = Labels(np.tile(np.arange(200), 4), np.repeat(np.arange(4), 200), said.reshape(-1))
    found = dawid_skene(labels, (200, 4, 2), smoothing=0.1)
    assert found.confusion[3, 0, 1] > 0.85
    assert (found.probabilities.argmax(axis=1) == truth).mean() > 0.97


def test_probabilities_are_probabilities_at_the_edges() -> None:
    one = Labels(np.array([0]), np.array([0]), np.array([2]))
    found = dawid_skene(one, (1, 1, 4), smoothing=0.5)
    assert np.isfinite(found.probabilities).all()
    assert found.probabilities.sum() == pytest.approx(1.0)
    assert found.probabilities.argmax() == 2
    none = Labels(*(np.zeros(0, dtype=np.int64) for _ in range(3)))
    assert dawid_skene(none, (0, 0, 2)).probabilities.shape == (0, 2)


def test_many_labels_of_one_item_do_not_underflow() -> None:
    labels = Labels(np.zeros(5000, np.int64), np.arange(5000), np.tile([0, 0, 0, 1], 1250))
    found = dawid_skene(labels, (1, 5000, 2), smoothing=1.0)
    assert np.isfinite(found.probabilities).all()
    assert found.probabilities[0, 0] > 0.99
