"""Merging two cases and splitting one: where the customers go, and what they were told goes with them.

Promises: nobody hears of a problem twice because a person moved it; who was told hears that it works, or a correction,
from one case only; what is held in the case that a customer leaves is dropped there and decided anew where they are.
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np

from detector.desk import approval
from detector.desk.casefile import CaseFile
from detector.desk.deliveries import home_of
from detector.desk.ledger import Ledger
from detector.desk.notices import CORRECTION, FOLLOW_UP, GIVEN, PROBLEM, RESOLVED, STATE_INDEX, TRY_AGAIN, Outgoing
from detector.desk.problems import Strand
from detector.desk.records import NoticeState
from detector.events import Ints

Rebuild = Callable[[Ledger, Sequence[Strand]], None]


def merge(file: CaseFile, into: CaseFile) -> None:
    """Move a case's anomalies and customers into another one; a rebuild of that one must follow."""
    source, target, had = file.ledger, into.ledger, len(into.strands)
    theirs = np.arange(source.n)
    mine = target.adopt(source, theirs, had + np.arange(len(file.strands)))
    _hand_over(file, into, theirs, mine, np.full(source.n, into.case.episode, np.int64))
    into.strands.extend(msgspec.structs.replace(s) for s in file.strands)
    approval.join(into, file)


def split(
    file: CaseFile,
    into: CaseFile,
    leaving: Sequence[int],
    rebuild: Rebuild,
    files: Mapping[str, CaseFile],
    outgoing: Outgoing,
) -> None:
    """Move these strands of a case, with the customers whom only they hit, into a new one that has none yet.

    Who was hit by both sides is listed in both, and stays owed what they are where they were told.
    """
    old, source, target = file.strands, file.ledger, into.ledger
    staying = [i for i in range(len(old)) if i not in leaving]
    since_ms, episode_from, strand = file.episode_onset_ms, file.episode_from, source["strand"].copy()
    for one, kept in ((file, staying), (into, leaving)):
        one.strands = [old[i] for i in kept]
        one.episode_from = sum(i < episode_from for i in kept)
        if file.case.episode > 1:
            one.episode_since_ms = since_ms
    source["strand"][:] = _places(staying, len(old))[strand]
    rebuild(source, file.strands)
    moved = np.flatnonzero(np.isin(strand, leaving) & ~source.active & source.listed())
    mine = target.adopt(source, moved, np.zeros(len(old), np.int64))
    target["strand"][mine] = _places(leaving, len(old))[strand[moved]]
    _hand_over(file, into, moved, mine, _episodes(file, moved))
    source["told"][moved] = source["owed"][moved] = 0
    rebuild(target, into.strands)
    both = np.flatnonzero(source.active)
    there = target.find(source["customer"][both])
    both, there = both[there >= 0], there[there >= 0]
    target["told_episode"][there] = np.maximum(target["told_episode"][there], _episodes(file, both))
    target["ever"][there] |= source["ever"][both]
    into.sends = int((target["told_episode"] > 0).sum())
    gone = set(source["customer"][moved].tolist())
    for notice in outgoing.pending.values():
        if notice.customer in gone and home_of(notice, files, outgoing) is file:
            outgoing.moved[notice.id] = into.case.id


def _places(kept: Sequence[int], n: int) -> Ints:
    """int64[n]: the place of each of n strands among the kept ones; 0 of those that are not."""
    out = np.zeros(n, np.int64)
    out[list(kept)] = np.arange(len(kept))
    return out


def _episodes(file: CaseFile, rows: Ints) -> Ints:
    """int64[rows]: the latest episode in which these were told of the problem, or will have been once it arrives."""
    of = file.ledger
    queued = of["state"][rows, PROBLEM] == STATE_INDEX[NoticeState.QUEUED]
    out: Ints = np.where(queued, file.case.episode, of["told_episode"][rows]).astype(np.int64)
    return out


def _hand_over(file: CaseFile, into: CaseFile, theirs: Ints, mine: Ints, episodes: Ints) -> None:
    """Take what customers were told from one case into another.

    Parameters
    ----------
    file, into : CaseFile
    theirs, mine : int64[customers]
        Their rows in both.
    episodes : int64[customers]
        In which episode of the target they count as told, where they were.
    """
    source, target = file.ledger, into.ledger
    known = (source["told"][theirs] > 0) | (_episodes(file, theirs) == file.case.episode)
    fresh = (target["told"][mine] == 0) & (target["told_episode"][mine] != episodes)
    for kind in (RESOLVED, CORRECTION, FOLLOW_UP, TRY_AGAIN):
        state = source["state"][theirs, kind]
        given = fresh & np.isin(state, GIVEN) & (target["state"][mine, kind] == 0)
        target["state"][mine[given], kind] = state[given]
    target["told_episode"][mine[known]] = episodes[known]
    target["ever"][mine] |= source["ever"][theirs]
    for name in ("told", "owed", "told_ms"):
        target[name][mine] = np.maximum(target[name][mine], source[name][theirs])
