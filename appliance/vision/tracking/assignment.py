"""Pairing two small sets so that the sum of costs is least (Kuhn-Munkres by shortest augmenting paths)."""

from __future__ import annotations

import math
from collections.abc import Sequence

IMPOSSIBLE = 1e6
"""Costs from here on are no pair at all; a pair costs less, so as many as possible are made."""


Costs = Sequence[Sequence[float]]
"""Rows of costs, one for every column. Plain numbers: a few people are too few for arrays to pay."""


def cheapest_pairs(costs: Costs) -> list[tuple[int, int]]:
    """(row, column) pairs of a cost matrix with the least total; rows and columns are used at most once.

    After Kuhn (1955) and Munkres (1957), in the form with dual prices: every row is let in by the cheapest
    chain of exchanges, O(n^3).
    """
    columns = len(costs[0])
    if len(costs) > columns:
        return sorted((row, column) for column, row in cheapest_pairs(list(zip(*costs, strict=True))))
    row_of = [-1] * columns
    row_price, column_price = [0.0] * len(costs), [0.0] * columns
    for row in range(len(costs)):
        _let_in(row, costs, row_of, row_price, column_price)
    pairs = ((row, column) for column, row in enumerate(row_of) if row >= 0)
    return sorted((row, column) for row, column in pairs if costs[row][column] < IMPOSSIBLE)


def _let_in(
    row: int, costs: Costs, row_of: list[int], row_price: list[float], column_price: list[float]
) -> None:
    distance = [math.inf] * len(row_of)  # the cheapest chain from `row` to each column
    before = [-1] * len(row_of)  # the column before it on that chain
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
    while reached >= 0:  # exchange along the chain, backwards
        earlier = before[reached]
        row_of[reached] = row_of[earlier] if earlier >= 0 else row
        reached = earlier
