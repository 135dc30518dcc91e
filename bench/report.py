"""How a benchmark reports: one JSON line a figure, a missed goal said as missed."""

from __future__ import annotations

import json
import operator
from dataclasses import dataclass

_COMPARE = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True)
class Figure:
    """One measured figure; ``goal`` is such as ``<= 1.5``, ``peer`` is what it was measured against.

    A figure without a goal is only reported: it is neither met nor missed.
    """

    name: str
    value: float
    unit: str
    goal: str
    peer: str

    @property
    def met(self) -> bool | None:
        """Whether the goal was reached; None without one."""
        if not self.goal:
            return None
        sign, limit = self.goal.split()
        return bool(_COMPARE[sign](self.value, float(limit)))

    def line(self) -> str:
        """The figure as JSON."""
        return json.dumps(
            {
                "name": self.name,
                "value": round(self.value, 3),
                "unit": self.unit,
                "goal": self.goal,
                "met": self.met,
                "peer": self.peer,
            }
        )


def report(*figures: Figure) -> None:
    """Print the figures."""
    for figure in figures:
        print(figure.line(), flush=True)
