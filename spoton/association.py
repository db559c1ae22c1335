"""One-to-one assignment under a gate: which row goes with which column at the least total cost.

``assign`` takes a whole matrix, ``assign_pairs`` only the pairs that are possible: in a crowd each track has few.
"""

from __future__ import annotations

import lap
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

_SMALL = 900
"""Up to so many cells a whole matrix is solved sooner than its pairs are put in order."""


def assign(cost: Floats, gate: float) -> tuple[Indices, Indices]:
    """Pair rows with columns so that the sum of ``cost - gate`` over all pairs is least (Jonker and Volgenant, 1987).

    cost: (N, M); a pair is possible only where its cost is below ``gate``; NaN and infinity mean impossible. Returns
    rows and columns of equal length, rows ascending. A pair that would make the total dearer than leaving both sides
    alone, at a price of ``gate``, is not made.

    The same matrix always gives the same pairs. When the best total is reached in one way only, the pairs do not
    depend on the order of rows and columns either; among equal totals the order decides, so callers keep rows and
    columns in an order of their own (tracks by id, detections as recorded).
    """
    possible = np.isfinite(cost) & (cost < gate)
    rows = np.flatnonzero(possible.any(axis=1))
    columns = np.flatnonzero(possible.any(axis=0))
    if not len(rows):
        return rows, columns
    inside = np.ix_(rows, columns)
    # The solver does not take infinity: what is impossible costs more than leaving both sides alone.
    lowest = float(cost[possible].min())
    impossible = gate + (gate - lowest) + 1.0
    usable = np.ascontiguousarray(np.where(possible, cost, impossible)[inside])
    chosen, _ = lap.lapjv(usable, extend_cost=True, cost_limit=gate, return_cost=False)
    taken = np.flatnonzero(chosen >= 0)
    taken = taken[possible[rows[taken], columns[chosen[taken]]]]
    return rows[taken], columns[chosen[taken]]


def near_pairs(a_m: Floats, b_m: Floats, reach_a_m: Floats, reach_b_m: Floats) -> tuple[Indices, Indices]:
    """Every pair of points that lie no farther apart than their reaches together, by row, then column.

    a_m: (N, 2); b_m: (M, 2); reaches: (N,) and (M,) metres. Only points whose x is near are looked at: work grows with
    the pairs in a strip, not with all.
    """
    order = np.argsort(a_m[:, 0], kind="stable")
    x, widest = a_m[order, 0], reach_a_m.max(initial=0.0)
    first = np.searchsorted(x, b_m[:, 0] - reach_b_m - widest, "left")
    count = np.searchsorted(x, b_m[:, 0] + reach_b_m + widest, "right") - first
    columns = np.repeat(np.arange(len(b_m)), count)
    rows = order[np.arange(len(columns)) - np.repeat(np.cumsum(count) - count - first, count)]
    apart = a_m[rows] - b_m[columns]
    near = (apart * apart).sum(axis=1) <= (reach_a_m[rows] + reach_b_m[columns]) ** 2
    rows, columns = rows[near], columns[near]
    order = np.lexsort((columns, rows))
    return rows[order], columns[order]


def assign_pairs(rows: Indices, columns: Indices, cost: Floats, gate: float) -> tuple[Indices, Indices]:
    """The same as ``assign`` for a matrix that is impossible but for the pairs given.

    rows, columns, cost: (E,), at least one, ordered by row, no pair twice, every cost below ``gate``. Pairs that
    nothing competes with are made at once; the others go to the solver of ``assign`` where the matrix is small, else to
    a sparse one (Volgenant, 1996), where leaving a row or a column alone costs half of ``gate``.
    """
    of_row, of_column = np.bincount(rows), np.bincount(columns)
    n, m = len(of_row), len(of_column)
    if np.count_nonzero(of_row) == np.count_nonzero(of_column) == len(rows):
        return rows, columns
    if n * m <= _SMALL:
        # What the solver makes of a matrix and a limit, made here in half the time: (N + M, M + N), each row and column
        # with a double that stands for being left alone.
        square = np.empty((n + m, m + n))
        square.fill(gate / 2.0)
        square[:n, :m] = 2.0 * gate - cost.min(initial=0.0) + 1.0
        square[n:, m:] = 0.0
        square[rows, columns] = cost
        to, _ = lap.lapjv(square, return_cost=False)
        pairs = (to[rows] == columns).nonzero()[0]
        return rows[pairs], columns[pairs]
    alone = (of_row[rows] == 1) & (of_column[columns] == 1)
    made, left = alone.nonzero()[0], (~alone).nonzero()[0]
    chosen = np.concatenate([made, left[_contested(rows[left], columns[left], cost[left], gate)]])
    chosen.sort()
    return rows[chosen], columns[chosen]


def _contested(rows: Indices, columns: Indices, cost: Floats, gate: float) -> Indices:
    """Which of the pairs are made. Rows and columns each have a double that stands for being left alone."""
    row_names, row = np.unique(rows, return_inverse=True)
    column_names, column = np.unique(columns, return_inverse=True)
    n, m, pairs = len(row_names), len(column_names), len(rows)
    # The solver takes sparse rows: those of the matrix, then the doubles of its columns. Costs are from 0 on.
    lowest = min(float(cost.min()), 0.0)
    single = np.full(n + m, (gate - lowest) / 2.0)
    of_row = np.concatenate([row, np.arange(n), n + np.arange(m), n + column])
    of_column = np.concatenate([column, m + np.arange(n), np.arange(m), m + row])
    price = np.concatenate([cost - lowest, single, np.zeros(pairs)])
    order = np.argsort(of_row * (n + m) + of_column)
    starts = np.searchsorted(of_row[order], np.arange(n + m + 1))
    to, _ = lap.lapmod(
        n + m, price[order], starts.astype(np.int32), of_column[order].astype(np.int32), return_cost=False
    )
    made: Indices = (to[row] == column).nonzero()[0]
    return made
