"""Consensus of people who err: the model of Dawid and Skene, fitted by EM.

Each item has one true category; each person gives a category with probabilities that depend on the
true one and on the person, and on nothing else. Labels are independent given the truth. Where people
share a bias (all prefer the longer answer), the model takes the bias for the truth: it weighs people,
it does not see what none of them saw.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from studio.stats.agreement import Floats, Ints

_TINY = 1e-10


@dataclass(frozen=True)
class Labels:
    """Who said what about which item: three arrays of the same length, each counting from 0."""

    items: Ints
    people: Ints
    values: Ints


@dataclass(frozen=True)
class DawidSkene:
    """The fitted model.

    Attributes:
        probabilities: Of each category for each item, shape (items, categories); rows sum to 1.
        prior: Of each category, shape (categories,).
        confusion: ``confusion[p, t, v]`` is how probable it is that person p says v where t is true.
    """

    probabilities: Floats
    prior: Floats
    confusion: Floats


def dawid_skene(
    labels: Labels,
    shape: tuple[int, int, int],
    *,
    known: Ints | None = None,
    smoothing: float | Floats = 0.0,
    rounds: int = 100,
    tolerance: float = 1e-5,
) -> DawidSkene:
    """Fit the model, starting from the share of labels of each category.

    A. P. Dawid and A. M. Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM
    Algorithm", Applied Statistics 28 (1979) 20-28.

    Args:
        labels: At least one for each item.
        shape: Number of items, of people and of categories.
        known: The true category of each item, -1 where it is not known (gold, adjudicated items).
        smoothing: Added to a person's counts, so that few labels prove little: a number for every cell,
            or a table (true category, given category). With few items a table that favours its diagonal
            is needed, or the model may explain all labels by one category.
        rounds: At most so many EM rounds.
        tolerance: Stop when no probability moves by more.
    """
    items, people, categories = shape
    probabilities = _clamped(_shares(labels, items, categories), known)
    for _ in range(rounds):
        prior = _prior(probabilities)
        confusion = _confusion(labels, probabilities, people, smoothing)
        before = probabilities
        probabilities = _clamped(_posterior(labels, prior, confusion, items), known)
        if np.abs(probabilities - before).max(initial=0.0) < tolerance:
            break
    return DawidSkene(
        probabilities, _prior(probabilities), _confusion(labels, probabilities, people, smoothing)
    )


def _shares(labels: Labels, items: int, categories: int) -> Floats:
    flat = np.bincount(labels.items * categories + labels.values, minlength=items * categories)
    counts = flat.reshape(items, categories).astype(np.float64)
    found: Floats = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return found


def _clamped(probabilities: Floats, known: Ints | None) -> Floats:
    if known is None:
        return probabilities
    certain = np.flatnonzero(known >= 0)
    probabilities[certain] = 0.0
    probabilities[certain, known[certain]] = 1.0
    return probabilities


def _prior(probabilities: Floats) -> Floats:
    found: Floats = np.maximum(probabilities.sum(axis=0) / max(len(probabilities), 1), _TINY)
    return found


def _confusion(labels: Labels, probabilities: Floats, people: int, smoothing: float | Floats) -> Floats:
    """The M step: shape (people, true category, given category)."""
    categories = probabilities.shape[1]
    place = labels.people * categories + labels.values
    counts = np.empty((people, categories, categories))
    for true in range(categories):
        weighed = np.bincount(place, weights=probabilities[labels.items, true], minlength=people * categories)
        counts[:, true, :] = weighed.reshape(people, categories)
    counts = np.maximum(counts + smoothing, _TINY)
    found: Floats = counts / counts.sum(axis=2, keepdims=True)
    return found


def _posterior(labels: Labels, prior: Floats, confusion: Floats, items: int) -> Floats:
    """The E step, in logarithms: the products of many labels would vanish."""
    said = np.log(confusion)[labels.people, :, labels.values]
    logs = np.empty((items, len(prior)))
    for true in range(len(prior)):
        logs[:, true] = np.bincount(labels.items, weights=said[:, true], minlength=items)
    logs += np.log(prior)
    likelihood = np.exp(logs - logs.max(axis=1, keepdims=True))
    found: Floats = likelihood / likelihood.sum(axis=1, keepdims=True)
    return found
