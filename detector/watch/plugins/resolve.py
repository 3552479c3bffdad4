"""Which detector a signal has: the built-in one, or whatever its dotted path names.

A dotted path runs the code of whoever writes the configuration, as the process that reads it: it is imported when the
configuration is checked and when a Watch is made, never because of anything that comes with the events.
"""

import importlib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from detector.errors import ConfigError, Problem
from detector.fields import shown
from detector.signals import Signal
from detector.watch.evidence import Detector
from detector.watch.plugins.features import NAMES
from detector.watch.plugins.guard import Guarded
from detector.watch.plugins.per_segment import PerSegment
from detector.watch.plugins.pooled import Pooled, score

CONTRACT = ("grow", "add", "learn", "reset", "keep", "state", "restore")
_ALLOWED = (
    "a class with learn_one and score_one, with fit and score_samples (or decision_function), or with the methods of "
    "detector.watch.evidence.Detector"
)
_SEEDS = ("random_state", "seed")
SEED = 0


def detector_of(signal: Signal, builtin: Callable[[], Detector], *, up: bool) -> Detector:
    """Return the signal's detector.

    Parameters
    ----------
    signal : Signal
    builtin : callable
        Makes the built-in one: of signals that name none, and the cheap look before a heavy model.
    up : bool
        Whether more than expected is worse.

    Raises
    ------
    ConfigError
        The dotted path leads to nothing that is a detector.
    """
    if not signal.detector:
        return builtin()
    make = maker(signal.detector, dict(signal.detector_options), f"signals.yml: signals.{signal.name}")
    made = make()
    detector: Detector
    if _is_contract(made):
        detector = made
    elif hasattr(made, "learn_one"):
        detector = PerSegment(make, up=up)
    else:
        detector = Pooled(make, builtin(), up=up)
    return Guarded(detector, f"signals.{signal.name}: detector {signal.detector}")


def problems(signals: Iterable[Signal], where: str = "signals.yml") -> list[Problem]:
    """Return what is wrong with the signals' detectors; imports those that are named."""
    found = []
    for signal in signals:
        if signal.detector:
            try:
                maker(signal.detector, dict(signal.detector_options), f"{where}: signals.{signal.name}")
            except ConfigError as error:
                found += error.problems
    return found


def maker(path: str, options: dict[str, Any], where: str) -> Callable[[], Any]:
    """Return what makes the class at a dotted path, with a seed where the class takes one; it was tried once.

    Raises
    ------
    ConfigError
        Nothing is there, it is no detector, or it does not take these options.

    Examples
    --------
    >>> maker("no.such.Thing", {}, "signals.yml: signals.logins")
    Traceback (most recent call last):
    detector.errors.ConfigError: signals.yml: signals.logins.detector: expected the dotted path of a class, found \
"no.such.Thing": No module named 'no' (install its package, or put its folder on PYTHONPATH)
    """
    kind = _class_at(path, f"{where}.detector")
    try:
        taken = inspect.signature(kind).parameters
    except ValueError:  # built in C, without a signature
        taken = {}  # type: ignore[assignment]
    seeds = {name: SEED for name in _SEEDS if name in taken and name not in options}

    def make() -> Any:
        return kind(**seeds, **options)

    try:
        made = make()
    except Exception as error:
        allowed, found = f"options that {path} takes", f"ones it refuses: {_said(error)}"
        raise ConfigError([Problem(f"{where}.detector_options", found, allowed)]) from error
    _try(made, path, where)
    return make


def _class_at(path: str, where: str) -> type:
    module, _, name = path.rpartition(".")
    found = f"{shown(path)}: "
    do = "install its package, or put its folder on PYTHONPATH"
    try:
        value: object = getattr(importlib.import_module(module), name, None)
    except Exception as error:
        raise ConfigError([Problem(where, found + _said(error), "the dotted path of a class", do)]) from error
    if value is None:
        found, do = found + f"{module} has no {name}", "look for a slip of the pen"
        raise ConfigError([Problem(where, found, "the dotted path of a class", do)])
    if not inspect.isclass(value):
        raise ConfigError([Problem(where, found + "no class", "the dotted path of a class")])
    return value


def _is_contract(made: object) -> bool:
    return all(callable(getattr(made, name, None)) for name in CONTRACT)


def _try(made: Any, path: str, where: str) -> None:
    """Let it learn and score a few made-up observations: what cannot do that is found now and not at night."""
    if _is_contract(made):
        return
    if hasattr(made, "learn_one") and hasattr(made, "score_one"):
        kind, lesson = "learn_one and score_one", _learn_one
    elif hasattr(made, "fit") and (hasattr(made, "score_samples") or hasattr(made, "decision_function")):
        kind, lesson = "fit and score", _fit
    else:
        do = "novelty: true among the options makes some of them one" if hasattr(made, "novelty") else ""
        raise ConfigError([Problem(f"{where}.detector", f"{shown(path)}, which is none", _ALLOWED, do)])
    try:
        lesson(made)
    except Exception as error:
        found, do = f"{shown(path)}, which cannot {kind}: {_said(error)}", "look at detector_options"
        raise ConfigError([Problem(f"{where}.detector", found, _ALLOWED, do)]) from error


def _learn_one(made: Any) -> None:
    target = (0.5,) if "y" in inspect.signature(made.learn_one).parameters else ()
    made.learn_one(dict.fromkeys(NAMES, 0.5), *target)
    float(made.score_one(dict.fromkeys(NAMES, 0.5), *target))


def _fit(made: Any) -> None:
    rows = np.random.default_rng(SEED).random((64, len(NAMES)))
    if score(made.fit(rows), rows).shape != (64,):
        message = "it gives no score per row"
        raise ValueError(message)


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
