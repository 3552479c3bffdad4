"""How severe a case is: its signals' severity, moved by how many people it hit.

| confirmed people | a part of the customers | everyone |
|---|---|---|
| fewer than 20 | one lower | as the signal says |
| 20 to 499 | as the signal says | as the signal says |
| 500 and more | one higher | one higher |

A silence names nobody: total silence is one higher, silence of a part as the signal says. So do values without a limit:
as the signal says, wherever they have shifted.
"""

from collections.abc import Iterable

from detector.signals import Severity

ORDER = (Severity.LOW, Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL)
FEW = 20
MANY = 500


def severity(signals: Iterable[Severity], confirmed: int | None, everyone: bool) -> Severity:
    """Return the case's severity.

    Parameters
    ----------
    signals : iterable of Severity
        What its signals say; the worst counts.
    confirmed : int or None
        People who were hit by it; None where nobody can be named.
    everyone : bool
        Whether a cause is the whole signal (of one that fails or is silent).

    Examples
    --------
    >>> severity([Severity.MEDIUM, Severity.HIGH], 25, False).value
    'high'
    >>> severity([Severity.HIGH], 3, False).value, severity([Severity.HIGH], None, True).value
    ('medium', 'critical')
    """
    level = max((ORDER.index(s) for s in signals), default=1)
    if confirmed is None:
        step = 1 if everyone else 0
    elif confirmed >= MANY:
        step = 1
    else:
        step = -1 if confirmed < FEW and not everyone else 0
    return ORDER[min(max(level + step, 0), len(ORDER) - 1)]
