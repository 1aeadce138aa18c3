"""The linear assignment problem for a few rows and columns (Kuhn-Munkres by shortest augmenting paths)."""

from __future__ import annotations

import math
from collections.abc import Sequence

IMPOSSIBLE = 1e6
"""Costs of this and more are not paired. Every pair costs less, so as many pairs as possible are made."""


Costs = Sequence[Sequence[float]]
"""Rows of costs, one for each column. Lists, since arrays are not faster for a few people."""


def min_cost_pairs(costs: Costs) -> list[tuple[int, int]]:
    """(row, column) pairs with the least total cost, sorted; each row and column is used at most once.

    After Kuhn (1955) and Munkres (1957), with dual prices: each row is added along the cheapest augmenting
    path, O(n^3).
    """
    columns = len(costs[0])
    if len(costs) > columns:
        return sorted((row, column) for column, row in min_cost_pairs(list(zip(*costs, strict=True))))
    row_of = [-1] * columns
    row_price, column_price = [0.0] * len(costs), [0.0] * columns
    for row in range(len(costs)):
        _add_row(row, costs, row_of, row_price, column_price)
    pairs = ((row, column) for column, row in enumerate(row_of) if row >= 0)
    return sorted((row, column) for row, column in pairs if costs[row][column] < IMPOSSIBLE)


def _add_row(
    row: int, costs: Costs, row_of: list[int], row_price: list[float], column_price: list[float]
) -> None:
    distance = [math.inf] * len(row_of)  # cost of the cheapest path from `row` to each column
    before = [-1] * len(row_of)  # the column before it on that path
    left, done = list(range(len(row_of))), []
    at, reached, so_far = row, -1, 0.0
    while True:
        for column in left:
            onward = so_far + costs[at][column] - row_price[at] - column_price[column]
            if onward < distance[column]:
                distance[column], before[column] = onward, reached
        reached = min(left, key=distance.__getitem__)
        left.remove(reached)
        done.append(reached)
        so_far = distance[reached]
        if row_of[reached] < 0:
            break
        at = row_of[reached]
    row_price[row] += so_far
    for column in done:
        slack = so_far - distance[column]
        column_price[column] -= slack
        if row_of[column] >= 0:
            row_price[row_of[column]] += slack
    while reached >= 0:  # exchange along the path, backwards
        earlier = before[reached]
        row_of[reached] = row_of[earlier] if earlier >= 0 else row
        reached = earlier
