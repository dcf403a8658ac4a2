"""What a training wrote down, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Spans = dict[str, list[list[int]]]


@dataclass(frozen=True)
class History:
    """What a training wrote down.

    Attributes:
        terms: {name of a loss term: its values in the order in which they were written}; "loss" is always there, once
            for every step. A term that joined late has fewer values: `rows` says which steps they belong to.
        seconds: spent in the loop, those before a resume included and those in `after_step` not.
        resumed_at: step from which this call went on; 0 where it began anew.
        spans: {name: [[first, last], ...]} the steps, from 1, at which a term was written, as runs without a gap.
    """

    terms: dict[str, list[float]]
    seconds: float
    resumed_at: int
    spans: Spans = field(default_factory=dict)

    def rows(self) -> list[dict[str, int | float | None]]:
        """One row a step: {"step": 1.., term: its value there, or None where it was not written}."""
        steps = len(self.terms.get("loss", ()))
        rows = [{"step": k} | dict.fromkeys(self.terms) for k in range(1, steps + 1)]
        for name, values in self.terms.items():
            spans = self.spans.get(name, [[steps - len(values) + 1, steps]])
            at = [k for first, last in spans for k in range(first, last + 1)]
            for k, value in zip(at, values, strict=True):
                rows[k - 1][name] = value
        return rows


def write_terms(row: Mapping[str, float], step: int, terms: dict[str, list[float]], spans: Spans) -> None:
    """Add the terms of a step (from 1) to those of the steps before it."""
    for name, value in row.items():
        runs = spans.setdefault(name, [])
        if runs and runs[-1][1] == step - 1:
            runs[-1][1] = step
        else:
            runs.append([step, step])
        terms.setdefault(name, []).append(value)


def spans_of(terms: Mapping[str, list[float]], known: Spans | None) -> Spans:
    """The runs of a checkpoint, `known`; of one that holds none, a shorter term is taken for one that joined late."""
    if known is not None:
        return {name: [list(run) for run in runs] for name, runs in known.items()}
    steps = len(terms.get("loss", ()))
    return {name: [[steps - len(values) + 1, steps]] for name, values in terms.items() if values}
