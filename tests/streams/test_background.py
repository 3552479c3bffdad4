"""What runs beside a process ends with it."""

import subprocess
import sys

import pytest

ENDS = """
import asyncio, time
from streams.background import Background

class Busy(Background):
    def __init__(self, name, turn_s):
        super().__init__(name)
        self.turn_s = turn_s

    async def _run(self):
        while True:
            await asyncio.to_thread(time.sleep, self.turn_s)

for one in (Busy("quick", 0.2), Busy("slow", 1.0)):
    one.start()
time.sleep(0.1)
"""


@pytest.mark.slow
def test_a_process_ends_without_a_word_of_what_runs_beside_it() -> None:
    # The quick one goes on while the interpreter, which ends, waits for the slow one.
    found = subprocess.run([sys.executable, "-c", ENDS], capture_output=True, text=True, timeout=60, check=False)
    assert (found.returncode, found.stderr) == (0, "")
