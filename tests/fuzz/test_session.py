"""What a case and its children have worked is what each of them reads from its own clock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from session import end_session, worked_seconds

sys.path.pop(0)

BUSY = "import time\nwhile time.process_time() < {}: pass\n"
# Two children: one that has ended and been waited for, and one that still runs; their parent only waits.
PARENT = """
import subprocess, sys, time
subprocess.run([sys.executable, "-c", {ended!r}])
child = subprocess.Popen([sys.executable, "-c", {alive!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print(time.process_time(), flush=True)
time.sleep(60)
"""


def test_children_that_work_while_their_parent_waits_are_counted() -> None:
    child_seconds = 0.3
    ended = BUSY.format(child_seconds)
    alive = ended + "print('done', flush=True)\ntime.sleep(60)"
    command = [sys.executable, "-c", PARENT.format(ended=ended, alive=alive)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as parent:
        assert parent.stdout is not None
        own = float(parent.stdout.readline())
        worked = worked_seconds(parent.pid)
        parent.kill()
        assert end_session(parent.pid)  # the second child is still there
    assert own + 2 * child_seconds - 0.05 < worked < own + 2 * child_seconds + 0.3
