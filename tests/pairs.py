"""Of many combinations of factors those few in which every two values meet that meet in any of them."""

from itertools import combinations


def pairs(factors):
    """Return which values of a combination meet; `factors` are pairs of a name and a value."""
    return set(combinations(sorted(factors), 2))


def choice(meetings):
    """Return the numbers of combinations whose meetings are all that there are."""
    missing, left, chosen = set().union(*meetings), list(range(len(meetings))), []
    if not missing:
        return left
    while missing:
        best = max(left, key=lambda number: len(meetings[number] & missing))
        missing -= meetings[best]
        left.remove(best)
        chosen.append(best)
    return chosen
