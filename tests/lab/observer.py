"""Somebody who watches both ends: he has counts of datagrams, one a tenth of a second, of every
viewer's and every seeder's line, holds each against each and says who belongs together. Of
simulated networks as of real ones (scripts/bench/correlation)."""
import math
import operator

BIN = 0.1  # seconds
LAGS = 10  # bins that the way may take


def around_zero(counts):
    """So that the sum of products with another is the coefficient of correlation; of counts that
    never change, which agree with nothing: zeros."""
    mean = sum(counts) / len(counts)
    apart = [count - mean for count in counts]
    size = math.sqrt(sum(x * x for x in apart))
    return [x / size for x in apart] if size > 1e-9 else [0.0] * len(counts)


def alike(viewers, seeders, first, bins):
    """A row a viewer, a column a seeder: how well their counts agree within these bins, at the best
    of the delays that the way may have. What is given is received later."""
    given = [around_zero(counts[first:first + bins - LAGS]) for counts in seeders]
    rows = []
    for counts in viewers:
        received = [around_zero(counts[first + lag:first + lag + bins - LAGS]) for lag in range(LAGS)]
        rows.append([max(sum(map(operator.mul, r, g)) for r in received) for g in given])
    return rows


def verdict(worlds):
    """`worlds`: what alike() says of networks, in which the viewer of each row has the seeder of the
    column of the same number. `auc`: the chance that a true pair is above a wrong one, 0.5 is a
    coin; `found`: of the true pairs, while 1 % of the wrong ones are accused; `pairs`, `others`:
    how well they agree in the mean."""
    pairs = [row[i] for rows in worlds for i, row in enumerate(rows)]
    others = sorted((r for rows in worlds for i, row in enumerate(rows) for j, r in enumerate(row) if i != j),
                    reverse=True)
    line = others[len(others) // 100]  # whoever is above it is accused
    above = sum(1 if pair > other else 0.5 if pair == other else 0 for pair in pairs for other in others)
    return {"auc": above / (len(pairs) * len(others)), "found": sum(pair > line for pair in pairs) / len(pairs),
            "pairs": sum(pairs) / len(pairs), "others": sum(others) / len(others)}


class Counts:
    """What he has of one network: counts of viewers' and seeders' lines, and the bin in which the
    middle begins: everybody has come by then and nobody has gone."""

    def __init__(self, flows):
        self.viewers, self.seeders = [[] for _ in range(flows)], [[] for _ in range(flows)]
        self.middle = 0

    def bins(self):
        return min(len(counts) for counts in self.viewers + self.seeders)

    def alike(self, first):
        return alike(self.viewers, self.seeders, first, self.bins() - first)


def judge(networks):
    """Of networks that were watched in the same way: of their middles, and with the time in which
    viewers come."""
    middle = verdict([counts.alike(counts.middle) for counts in networks])
    whole = verdict([counts.alike(0) for counts in networks])
    return {**middle, **{f"{key}_from_the_beginning": value for key, value in whole.items()}}
