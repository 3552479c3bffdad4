"""One signal's Watch: a closed window's counts in, anomalies out.

Per window one numpy pass over all segments: expect, add evidence, raise what passes its threshold, learn from what no
alarm holds. A raised segment becomes a *track* (`detector.watch.track`) with its own causes and onset.
"""

import hashlib
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from detector.calendar import Calendar
from detector.config import DAY_MS, HOUR_MS, Config
from detector.counter.record import SignalWindow, merge_signal
from detector.events import Floats, Ints
from detector.signals import CountBy, Direction, Measure, Signal
from detector.watch.anomaly import Anomaly, Phase, Why
from detector.watch.baseline import NOISE_HALF_LIFE_MS, ShareBaseline, fading
from detector.watch.budget import LEVELS, Operating, OperatingPoint
from detector.watch.control import Control, Fact, Judged, Withdrawn
from detector.watch.evidence import EFFECTS_DOWN, EFFECTS_UP, Detector, Evidence, Touched
from detector.watch.local import Local
from detector.watch.plugins.resolve import detector_of
from detector.watch.segments import Segments
from detector.watch.track import Track, WindowCells, key_of, without
from detector.watch.volume import VolumeBaseline

HOLD_NATS = 6.0
"""From here on a segment teaches the baseline nothing, for hours at most."""
HOLD_MS = 6 * HOUR_MS
EXPLAINED_NATS = 3.0
"""Where a problem is found, segments that overlap it keep so much evidence if the rest of them brought it."""
FORGET_MS = 8 * DAY_MS
LOOK_BACK_MS = 6 * HOUR_MS
"""How far before a span's start the windows are read again, to date the onset."""
MARGIN = 10
"""Windows around a finished problem that are left out with it."""
WARM_UP_MS = HOUR_MS
"""A signal raises nothing in its first hour: there is nothing to compare with."""

Flags = NDArray[np.bool_]


class Look(Protocol):
    """Looks a signal's own past up: the base windows in [from_ms, to_ms) that had an event, partition by partition."""

    def __call__(self, from_ms: int, to_ms: int) -> list[tuple[int, SignalWindow]]: ...


class Watch:
    """One signal of one tenant, or one of the channels that a signal is watched on.

    A channel has its own name (its anomalies are others), the effects that it looks for, and its part of the budget.
    """

    def __init__(
        self,
        config: Config,
        signal: Signal,
        *,
        channel: str = "",
        channels: int = 1,
        effects: tuple[float, ...] | None = None,
    ) -> None:
        self._config, self.signal, self._channel = config, signal, channel
        self._share = signal.measure is not Measure.COUNT
        self._up = signal.direction is Direction.UP or self._share
        self._attempts = signal.count_by is CountBy.ATTEMPTS
        self._segments = Segments(signal.dimensions)
        sought = effects or (EFFECTS_UP if self._up else EFFECTS_DOWN)
        least = signal.min_people if signal.names_people and not self._attempts else 0
        self._evidence: Detector = detector_of(signal, lambda: Evidence(sought, least), up=self._up)
        calendar = Calendar(config.calendar)
        self._rates = ShareBaseline(self._segments, signal.window_ms, calendar)
        self._volume = VolumeBaseline(
            self._segments,
            signal.window_ms,
            up=self._up,
            attempts=self._attempts,
            substitutes=signal.substitutes,
            calendar=calendar,
        )
        self._noise_fade = fading(HOUR_MS, NOISE_HALF_LIFE_MS)
        self._held_since_ms: Ints = np.zeros(0, np.int64)
        self._cell_seen_ms: Ints = np.zeros(0, np.int64)
        self._tracks: list[Track] = []
        self._local = Local()
        budget, split = config.budget_of(signal)
        self._operating = OperatingPoint(budget, split, signal.window_ms, channels)
        self._facts: dict[str, Fact] = {}
        self._window_ms = 0
        self._finished: list[tuple[list[dict[str, str]], int, int]] = []
        """Causes and span of the latest problems: left out where the past is read again."""
        self._first_ms: int | None = None
        self._hour = -1
        self._parts: list[SignalWindow] = []

    def step(
        self, window_ms: int, record: SignalWindow | None, look: Look, *, learn_only: bool = False
    ) -> list[Anomaly]:
        """Take a base window (`record` None: no event); anomalies come when the signal's own window is full."""
        if record is not None:
            self._parts.append(record)
        end_ms = window_ms + self._config.input.window_ms
        if end_ms % self.signal.window_ms:
            return []
        parts, self._parts = self._parts, []
        merged = merge_signal(parts) if parts else None
        start_ms = end_ms - self.signal.window_ms
        if self._first_ms is None:
            if merged is None:
                return []
            self._first_ms = start_ms
        elif merged is None and self._share and not self._tracks:
            return []
        if start_ms // DAY_MS != (start_ms - self.signal.window_ms) // DAY_MS:
            self._sweep(start_ms)
        self._window_ms = start_ms
        current = self._cells(start_ms, merged)
        self._grow()
        seen = (current.trials if self._share else current.observed) > 0
        self._cell_seen_ms[current.rows[seen]] = start_ms
        return self._window(current, look, learn_only=learn_only)

    def control(self, control: Control) -> None:
        """Take what people say; it holds from the next window on; what is not about this signal is ignored."""
        match control:
            case Fact() if control.mutes and control.concerns(self.signal.name, self.signal.dimensions):
                self._facts[control.id] = control
            case Withdrawn(fact=id) if id in self._facts:
                fact, now_ms = self._facts.pop(id), self._window_ms + self.signal.window_ms
                if fact.from_ms < now_ms:
                    self._facts[id] = msgspec.structs.replace(fact, until_ms=min(fact.until_ms, now_ms))
            case Judged(anomaly=id, real=real):
                self._operating.judge(id, real=real)

    @property
    def operating(self) -> Operating:
        """Where the signal stands: thresholds, and what they come from."""
        size, noise = self._segments.family_size, self._rates.families.noise if self._share else self._volume.noise
        of_level = np.array(
            [np.median(noise[size == level]) if (size == level).any() else 0.0 for level in range(LEVELS)]
        )
        segments = np.bincount(self._segments.level(), minlength=LEVELS)
        return self._operating.describe(self.signal.name, segments, of_level)

    def warnings(self) -> list[str]:
        """What ops should know of the detector."""
        said: list[str] = getattr(self._evidence, "warnings", list)()
        return said

    # --- a window ---------------------------------------------------------------------------------------------------

    def _cells(self, window_ms: int, record: SignalWindow | None) -> WindowCells:
        """The window's cells with what was expected of each; for a count every known cell has an expectation."""
        if record is not None:
            rows = self._segments.rows(record.cells)
            self._grow()
            if self._share:
                observed, trials = self._counts(record, window_ms)
                # Retries alone (k = 0, n = 0) carry neither evidence nor expectation.
                used = trials > 0
                rows, trials, observed = rows[used], trials[used], observed[used]
                return WindowCells(window_ms, rows, observed, trials * self._rates.cell_rates(rows, window_ms), trials)
            counted = (record.people if self._up and not self._attempts else record.total).astype(np.float64)
        elif self._share:
            none = np.zeros(0)
            return WindowCells(window_ms, np.zeros(0, np.int64), none, none, none)
        else:
            rows, counted = np.zeros(0, np.int64), np.zeros(0)
        every = np.arange(len(self._segments.cells))
        observed = np.zeros(len(every))
        observed[rows] = counted
        expected = self._volume.cell_expected(window_ms)
        return WindowCells(window_ms, every, observed, expected, expected)

    def _counts(self, record: SignalWindow, window_ms: int) -> tuple[Floats, Floats]:
        """float64[cells] each: k and n of a share's window, which begins at `window_ms`."""
        return record.people.astype(np.float64), record.total.astype(np.float64)

    def _window(self, current: WindowCells, look: Look, *, learn_only: bool) -> list[Anomaly]:
        window_ms = current.window_ms
        self._facts = {k: f for k, f in self._facts.items() if f.until_ms > window_ms - 2 * LOOK_BACK_MS}
        free = self._free()
        here = free[current.rows]
        rows, k, n = current.rows[here], current.observed[here], current.trials[here]
        sums = self._segments.totals(rows, [k, current.expected[here], n])
        touched = np.flatnonzero(sums[1] > 0)
        seg_k, seg_mu, seg_n = (column[touched] for column in sums)
        spread, corrected, slack = self._expectation(touched, seg_k, seg_mu, seg_n)
        clump = self._volume.clump
        trials = seg_n if self._share else None
        followed = self._share or self._volume.followed(window_ms)
        mean, variance = self._local.predict(touched, window_ms, spread) if followed else (0 * spread, spread)
        pieces, usual = seg_k / clump, corrected / clump
        window = Touched(touched, window_ms, pieces, usual, trials, spread, mean, variance, slack)
        self._evidence.add(window)
        quiet = self._hold(touched, window_ms)
        self._evidence.learn(window, quiet)
        if followed:
            calm = quiet if self._share else quiet & self._volume.calm(touched)
            self._local.learn(touched, window_ms, (mean, variance), pieces, usual, spread, calm)
        self._learn(current, here, touched, seg_k, seg_mu, corrected, quiet)
        for track in self._tracks:
            track.windows.append(current)
        out = []
        if not learn_only and window_ms >= self._warm_ms:
            for track in list(self._tracks):
                before = track.inside(self._segments)
                track.advance(self._segments, self._free(but=track), self.signal.window_ms)
                taken = track.inside(self._segments) & ~before
                if taken.any():
                    self._explain(track, taken)
                out.append(self._said(track, window_ms))
                self._operating.climbed(track.id, track.score)
                if track.phase is Phase.ENDED:
                    self._let_go(track)
            out += self._raise(touched, seg_k, window_ms, look)
        return out

    def _expectation(self, touched: Ints, observed: Floats, mu: Floats, n: Floats) -> tuple[Floats, Floats, Floats]:
        """Spread, corrected expectation and slack of the touched segments."""
        if not self._share:
            return self._volume.expectation(touched, observed, mu, self._window_ms)
        noise = self._rates.families.noise[self._segments.segment_family[touched]]
        corrected = np.minimum(mu * self._rates.corrections(touched), 0.95 * n)
        spread = noise**2 + self._rates.ignorance(touched) + self._rates.doubt(self._window_ms)
        return spread, corrected, 1.0 + 1.0 / np.sqrt(self._rates.segment_observed[touched] + 10.0)

    def _hold(self, touched: Ints, window_ms: int) -> Flags:
        """bool[touched]: those that may learn; the others are held while their evidence stands, for a day at most."""
        if window_ms < self._warm_ms:
            # In the first hour everything is surprising: all of it is learned, and none of it is held against anyone.
            self._evidence.reset(touched)
        high = self._evidence.score[touched] >= HOLD_NATS
        since = self._held_since_ms[touched]
        since = np.where(high, np.where(since == 0, window_ms, since), 0)
        self._held_since_ms[touched] = since
        return ~(high & (window_ms - since < HOLD_MS))

    def _learn(
        self, current: WindowCells, here: Flags, touched: Ints, k: Floats, mu: Floats, corrected: Floats, quiet: Flags
    ) -> None:
        window_ms = current.window_ms
        held = np.zeros(len(self._segments), np.bool_)
        held[touched[~quiet]] = True
        cell_held = held[self._segments.cell_segments].any(axis=1) | ~self._free()
        hour = window_ms // HOUR_MS
        families = self._rates.families if self._share else self._volume.families
        known = self._rates.segment_expected if self._share else self._known_volume()
        telling = np.ones(len(touched), np.bool_)
        if not self._share:
            telling, corrected = self._volume.telling(touched, corrected, window_ms)
        families.add(hour, touched[telling], k[telling], corrected[telling], known, self._segments, self._noise_fade)
        if self._share:
            if hour != self._hour:
                self._rates.learn_spread()
                families.learn_spread(self._rates.segment_observed, self._rates.segment_expected, self._segments)
            learning = here & ~cell_held[current.rows]
            rows, trials = current.rows[learning], current.trials[learning]
            rates = current.expected[learning] / np.maximum(trials, 1e-12)
            self._rates.learn(rows, window_ms, current.observed[learning], trials, rates, (touched, k, mu), quiet)
            if window_ms < self._warm_ms:
                self._rates.warm(rows, current.observed[learning], trials)
        else:
            self._volume.learn(
                current.rows,
                window_ms,
                current.observed,
                cell_held,
                whole_held=bool(held[:1].any()) or not self._free().any(),
            )
        self._hour = hour

    def _known_volume(self) -> Floats:
        return self._segments.totals(np.arange(len(self._segments.cells)), [self._volume.cell_seen])[0]

    # --- raising ----------------------------------------------------------------------------------------------------

    def _raise(self, touched: Ints, k: Floats, window_ms: int, look: Look) -> list[Anomaly]:
        """Open tracks for the segments that pass their thresholds, the most surprising first."""
        out = []
        level = self._segments.level()
        segments = np.bincount(level, minlength=LEVELS)[:LEVELS]
        limits = self._operating.limits(segments)
        top = np.array([self._evidence.score[touched[level[touched] == i]].max(initial=0.0) for i in range(LEVELS)])
        self._operating.see(window_ms, top)
        for _ in range(5):
            over = self._evidence.score[touched] - limits[level[touched]]
            if not len(over) or over.max() < 0:
                break
            worst = int(touched[int(over.argmax())])
            track = self._open(worst, float(limits[level[worst]]), window_ms, look)
            if track is None:
                self._evidence.reset(np.array([worst]))
                continue
            self._tracks.append(track)
            self._operating.raised(track.id, window_ms, int(level[worst]), track.onset_ms, float(limits[level[worst]]))
            self._explain(track, track.inside(self._segments))
            out.append(self._said(track, window_ms))
        return out

    def _explain(self, track: Track, taken: Flags) -> None:
        """Take what these cells (bool[cells]) have brought against other segments out of their evidence.

        A second problem that overlaps keeps what it has gathered by itself: the track's windows say how much that is.
        """
        rows = np.unique(self._segments.cell_segments[taken])
        own = self._evidence
        kept = rows[own.score[rows] >= EXPLAINED_NATS] if isinstance(own, Evidence) and self._up else rows[:0]
        own.reset(np.setdiff1d(rows, kept))
        if not isinstance(own, Evidence) or not len(kept):
            return
        began = own.spans(kept)
        place = np.full(len(self._segments), -1)
        place[kept] = np.arange(len(kept))
        sums = np.zeros((3, *began.shape))
        since_ms = int(began[began > 0].min(initial=self._window_ms))
        for window in track.windows:
            if window.window_ms < since_ms:
                continue
            at = place[self._segments.cell_segments[window.rows]]
            cell, family = np.nonzero(at >= 0)
            where = at[cell, family]
            ours = taken[window.rows][cell]
            counted, usual = window.observed[cell], window.expected[cell]
            columns = (counted * ours, usual * ours, usual)
            found = np.stack([np.bincount(where, weights=c, minlength=len(kept)) for c in columns])
            sums += found[:, :, None] * ((began > 0) & (began <= window.window_ms))[None, :, :]
        own.explain(kept, sums[0] / self._volume.clump, sums[1] / np.maximum(sums[2], 1e-12))

    def _open(self, segment: int, threshold: float, window_ms: int, look: Look) -> Track | None:
        """A track for what made this segment surprising; None where a second look finds nothing that stands."""
        start_ms = int(self._evidence.start_ms[segment])
        assert self._first_ms is not None
        from_ms = max(start_ms - LOOK_BACK_MS, self._first_ms)
        noise = self._rates.families.noise if self._share else self._volume.noise
        track = Track(
            id="",
            detected_ms=window_ms + self.signal.window_ms,
            threshold=threshold,
            source=self.operating.levels[int(self._segments.level()[segment])].source,
            segment=self._segments.where(segment),
            share=self._share,
            up=self._up,
            clump=self._volume.clump,
            noises=noise.copy(),
            noise=float(noise[int(self._segments.segment_family[segment])]),
            windows=self._past(from_ms, window_ms + self.signal.window_ms, look),
            onset_ms=start_ms,
        )
        free = self._free()
        if not track.find(self._segments, free):
            return None
        track.date(self._segments)
        track.find(self._segments, free)
        track.date(self._segments)
        track._judge(self._segments, self.signal.window_ms)
        track.phase, track.ended_ms, track.recovering_since_ms = Phase.OPENED, None, None
        if self.signal.names_people and not self._attempts and track.observed < self.signal.min_people:
            return None
        if (track.observed > track.expected) != self._up or track.score < threshold / 2:
            return None
        what = (self._config.tenant, self.signal.name, sorted(track.wheres[0].items()), window_ms)
        name = msgspec.json.encode((*what, self._channel) if self._channel else what)
        track.id = hashlib.blake2b(name, digest_size=6).hexdigest()
        return track

    def _past(self, from_ms: int, to_ms: int, look: Look) -> list[WindowCells]:
        """The signal's windows of a span, with what today's baseline expects of them."""
        width = self.signal.window_ms
        found: dict[int, list[SignalWindow]] = {}
        for base_ms, record in look(from_ms, to_ms):
            found.setdefault(base_ms // width * width, []).append(record)
        out = []
        for start_ms in range(from_ms // width * width, to_ms, width):
            parts = found.get(start_ms)
            out.append(self._cells(start_ms, merge_signal(parts) if parts else None))
        self._grow()
        planned = [([fact.where], fact.from_ms, fact.until_ms) for fact in self._facts.values()]
        for wheres, since_ms, until_ms in (*self._finished, *planned):
            out = [without(w, self._segments, wheres, since_ms, until_ms) for w in out]
        return out

    def _said(self, track: Track, window_ms: int) -> Anomaly:
        points, rewrite = track.points(self._segments)
        stands = self.operating
        budget = f"{self._config.budget_of(self.signal)[0].words}, split over {stands.divisor} signals"
        return Anomaly(
            id=track.id,
            signal=self.signal.name,
            phase=track.phase,
            at_ms=window_ms + self.signal.window_ms + self._config.input.lateness_ms,
            window_ms=window_ms,
            onset_ms=track.onset_ms,
            detected_ms=track.detected_ms,
            ended_ms=track.ended_ms,
            causes=track.causes(),
            observed=track.observed,
            expected=round(track.expected, 6),
            trials=track.trials,
            score=round(track.score, 6),
            points=points,
            rewrite=rewrite,
            contrasts=track.contrasts(self._segments) if rewrite else (),
            new_level=track.new_level,
            why=Why(
                score_nats=round(track.score, 3),
                threshold_nats=round(track.threshold, 3),
                budget=budget,
                segments=stands.levels[len(track.segment)].segments,
                noise=round(track.noise, 4),
                segment=track.segment,
                source=track.source,
                season=round((self._rates if self._share else self._volume).season(window_ms), 4),
                beside=track.beside(self._segments),
            ),
        )

    def _let_go(self, track: Track) -> None:
        """The problem stayed gone: its cells come back into the population."""
        self._tracks.remove(track)
        margin_ms = MARGIN * self.signal.window_ms
        span = (track.onset_ms - margin_ms, (track.ended_ms or 0) + margin_ms)
        self._finished = [f for f in self._finished if f[2] > span[1] - 2 * LOOK_BACK_MS]
        self._finished.append((track.wheres, *span))
        for other in self._tracks:
            own = [key_of(w) for w in other.wheres]
            other.without(self._segments, [w for w in track.wheres if key_of(w) not in own], *span)
        covered = track.inside(self._segments)
        self._evidence.reset(np.unique(self._segments.cell_segments[covered]))
        if track.new_level is not None:
            baseline = self._rates if self._share else self._volume
            baseline.accept(np.flatnonzero(covered), track.new_level)

    def _free(self, but: Track | None = None) -> Flags:
        """bool[cells]: those in no open track (other than `but`), and in no planned work: all that is as usual."""
        free = np.ones(len(self._segments.cells), np.bool_)
        for fact in self._facts.values():
            if fact.from_ms <= self._window_ms < fact.until_ms:
                free &= ~self._segments.covered(fact.where)
        for track in self._tracks:
            if track is not but:
                free &= ~track.inside(self._segments)
        return free

    @property
    def _warm_ms(self) -> int:
        return (self._first_ms or 0) + max(WARM_UP_MS, 3 * self.signal.window_ms)

    def _sweep(self, window_ms: int) -> None:
        """Once a day of event time: forget the cells that were unseen for longer than the Counter remembers values."""
        stale = self._cell_seen_ms < window_ms - FORGET_MS
        if self._tracks or not stale.any():
            return
        self._segments, kept = self._segments.without(stale)
        self._rates.keep(self._segments, kept)
        self._volume.keep(self._segments, kept)
        self._evidence.keep(kept.segments)
        self._local.keep(kept.segments)
        self._held_since_ms = self._held_since_ms[kept.segments]
        self._cell_seen_ms = self._cell_seen_ms[kept.cells]

    # --- state ------------------------------------------------------------------------------------------------------

    def _grow(self) -> None:
        segments = len(self._segments)
        self._evidence.grow(segments)
        self._local.grow(segments)
        self._rates.grow()
        self._volume.grow()
        more = segments - len(self._held_since_ms)
        if more > 0:
            self._held_since_ms = np.concatenate([self._held_since_ms, np.zeros(more, np.int64)])
        more = len(self._segments.cells) - len(self._cell_seen_ms)
        if more > 0:
            self._cell_seen_ms = np.concatenate([self._cell_seen_ms, np.zeros(more, np.int64)])

    def state(self) -> dict[str, Any]:
        return {
            "segments": self._segments.state(),
            "evidence": self._evidence.state(),
            "local": self._local.state(),
            "baseline": self._rates.state() if self._share else self._volume.state(),
            "held_since_ms": self._held_since_ms,
            "cell_seen_ms": self._cell_seen_ms,
            "tracks": [t.state() for t in self._tracks],
            "finished": self._finished,
            "operating": self._operating.state(),
            "facts": [msgspec.structs.asdict(fact) for fact in self._facts.values()],
            "first_ms": self._first_ms,
            "hour": self._hour,
            "parts": self._parts,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._segments.restore(state["segments"])
        self._grow()
        self._evidence.restore(state["evidence"])
        self._local.restore(state["local"])
        (self._rates if self._share else self._volume).restore(state["baseline"])
        self._held_since_ms, self._cell_seen_ms = state["held_since_ms"], state["cell_seen_ms"]
        self._tracks = [Track.from_state(t) for t in state["tracks"]]
        self._finished = [(wheres, from_ms, to_ms) for wheres, from_ms, to_ms in state["finished"]]
        self._operating.restore(state["operating"])
        self._facts = {fact["id"]: Fact(**{**fact, "signals": tuple(fact["signals"])}) for fact in state["facts"]}
        self._first_ms, self._hour = state["first_ms"], state["hour"]
        self._parts = [msgspec.convert(p, SignalWindow) for p in state["parts"]]
