"""The assignment against an exhaustive search."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from appliance.vision.tracking.assignment import IMPOSSIBLE, min_cost_pairs

COST = st.one_of(st.floats(0, 2), st.just(IMPOSSIBLE), st.sampled_from([0.0, 1.0]))


@st.composite
def matrices(draw: st.DrawFn) -> NDArray[np.float64]:
    rows, columns = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    return np.array(draw(st.lists(COST, min_size=rows * columns, max_size=rows * columns))).reshape(
        rows, columns
    )


def best(costs: NDArray[np.float64]) -> tuple[int, float]:
    """The largest possible number of pairs and their least cost, by trying all."""
    if costs.shape[0] > costs.shape[1]:
        costs = costs.T
    found = (0, 0.0)
    for columns in itertools.permutations(range(costs.shape[1]), costs.shape[0]):
        values = [costs[row, column] for row, column in enumerate(columns) if costs[row, column] < IMPOSSIBLE]
        found = min(found, (-len(values), sum(values)))
    return -found[0], found[1]


@settings(deadline=None)
@given(matrices())
def test_as_many_pairs_as_possible_at_the_least_total(costs: NDArray[np.float64]) -> None:
    pairs = min_cost_pairs(costs.tolist())
    rows, columns = [row for row, _ in pairs], [column for _, column in pairs]
    assert len(set(rows)) == len(rows) and len(set(columns)) == len(columns)
    assert all(costs[pair] < IMPOSSIBLE for pair in pairs)
    count, total = best(costs)
    assert len(pairs) == count
    assert sum(costs[pair] for pair in pairs) == pytest.approx(total, abs=1e-6)


def test_the_assignment_is_not_greedy() -> None:
    assert min_cost_pairs([[0.1, 0.2], [0.2, 0.9]]) == [(0, 1), (1, 0)]


@pytest.mark.parametrize("shape", [(1, 4), (4, 1), (3, 3)])
def test_impossible_costs_are_not_paired(shape: tuple[int, int]) -> None:
    assert min_cost_pairs(np.full(shape, IMPOSSIBLE).tolist()) == []
