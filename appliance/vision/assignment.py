"""Pairing two small sets so that the sum of costs is least (Kuhn-Munkres by shortest augmenting paths)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IMPOSSIBLE = 1e6
"""Costs from here on are no pair at all; a pair costs less, so as many as possible are made."""


def cheapest_pairs(costs: NDArray[np.float64]) -> list[tuple[int, int]]:
    """(row, column) pairs of a cost matrix with the least total; rows and columns are used at most once.

    After Kuhn (1955) and Munkres (1957), in the form with dual prices: every row is let in by the cheapest
    chain of exchanges, O(n^3).
    """
    rows, columns = costs.shape
    if rows > columns:
        return sorted((row, column) for column, row in cheapest_pairs(costs.T))
    row_of = np.full(columns, -1)
    row_price, column_price = np.zeros(rows), np.zeros(columns)
    for row in range(rows):
        _let_in(row, costs, row_of, row_price, column_price)
    pairs = ((int(row_of[column]), column) for column in range(columns) if row_of[column] >= 0)
    return sorted((row, column) for row, column in pairs if costs[row, column] < IMPOSSIBLE)


def _let_in(
    row: int,
    costs: NDArray[np.float64],
    row_of: NDArray[np.int64],
    row_price: NDArray[np.float64],
    column_price: NDArray[np.float64],
) -> None:
    columns = costs.shape[1]
    distance = np.full(columns, np.inf)  # the cheapest chain from `row` to each column
    before = np.full(columns, -1)  # the column before it on that chain
    done = np.zeros(columns, bool)
    at, reached, so_far = row, -1, 0.0
    while True:
        onward = so_far + costs[at] - row_price[at] - column_price
        better = ~done & (onward < distance)
        distance[better], before[better] = onward[better], reached
        reached = int(np.argmin(np.where(done, np.inf, distance)))
        done[reached], so_far = True, float(distance[reached])
        if row_of[reached] < 0:
            break
        at = int(row_of[reached])
    spare = so_far - distance[done]
    row_price[row] += so_far
    for column, slack in zip(np.flatnonzero(done), spare, strict=True):
        column_price[column] -= slack
        if row_of[column] >= 0:
            row_price[row_of[column]] += slack
    while reached >= 0:  # exchange along the chain, backwards
        earlier = int(before[reached])
        row_of[reached] = row_of[earlier] if earlier >= 0 else row
        reached = earlier
