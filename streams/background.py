"""An asyncio loop in a thread of its own, beside what else a process does: started, woken and stopped from outside."""

import asyncio
import contextlib
import threading
from collections.abc import Callable

_NO_MORE = "cannot schedule new futures after"


class Background:
    """What a thread with a loop runs; a subclass says what in `_run`, which ends soon after `_stopping` is set.

    Parameters
    ----------
    name
        Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._stopping = threading.Event()

    # --- for whoever runs it --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def wake(self) -> None:
        """Say that there may be something to do."""
        self._in_loop(self._woken.set)

    def stop(self, timeout_s: float) -> bool:
        """Have it end; returns whether it did in time."""
        self._stopping.set()
        self.wake()
        return self._ended_within(timeout_s)

    # --- for what is run ------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        raise NotImplementedError

    async def _pause(self, longest_s: float) -> None:
        """Wait until woken; once asked to stop not at all."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), longest_s)
        if not self._stopping.is_set():
            self._woken.clear()

    def _cut_off(self) -> None:
        """Have it end in the middle of what it does."""
        if self._running is not None:
            self._in_loop(self._running.cancel)

    def _ended_within(self, timeout_s: float) -> bool:
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self.alive

    def _in_loop(self, call: Callable[[], object]) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it has just ended
                loop.call_soon_threadsafe(call)

    def _died(self, error: BaseException) -> None:
        """Take note of what ended it."""

    def _main(self) -> None:
        try:
            asyncio.run(self._begun())
        except asyncio.CancelledError:  # by `_cut_off`
            return
        except BaseException as error:
            # The process ends, and takes the executors away, a moment before its main thread counts as ended.
            if not threading.main_thread().is_alive() or _NO_MORE in str(error):
                return
            self._died(error)
            raise
        finally:
            self._loop = None

    async def _begun(self) -> None:
        self._loop, self._running = asyncio.get_running_loop(), asyncio.current_task()
        await self._run()
