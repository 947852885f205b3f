"""What the processes of the web server have in common: their names, priorities and settings."""

import gc
import os
import sys
from contextlib import suppress
from pathlib import Path

# They come from one program, and `ps -o comm` tells them apart.
WORKER_NAME, APPLICATION_NAME, HEAVY_NAME = "tallybook-web", "tallybook-app", "tallybook-heavy"
JOBS_NAME, AUTOMATIONS_NAME = "tallybook-jobs", "tallybook-auto"
# granian looks at its workers' memory as often.
MEMORY_SAMPLE_SECONDS = 10
# A thread that computes keeps the interpreter for so long although others wait. A tracked event
# waits at each of its steps, and with Python's 5 ms few a second would pass one that computes.
SWITCH_SECONDS = 0.0005
# A full collection of garbage stops all threads, so it comes seldom.
GARBAGE_THRESHOLDS = (5000, 10, 100)
# Rows of an import live for a step or two. To look at them each 50,000 objects instead of each
# million took a fifth of Python's time.
JOB_GARBAGE_THRESHOLDS = (5000, 200, 10)
NICE = 10


def prepare(name: str) -> None:
    """Name this process and set up its interpreter."""
    Path("/proc/self/comm").write_text(name)
    if name == WORKER_NAME:
        gc.set_threshold(*GARBAGE_THRESHOLDS)
    elif name == JOBS_NAME:
        set_up_for_jobs()
    else:
        set_up_interpreter()


def set_up_interpreter() -> None:
    """Let threads of this process change often, and collect garbage seldom."""
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.set_threshold(*GARBAGE_THRESHOLDS)


def set_up_for_jobs() -> None:
    """Set up a process that runs jobs, once its modules are loaded, which are no garbage."""
    set_up_interpreter()
    gc.freeze()
    gc.set_threshold(*JOB_GARBAGE_THRESHOLDS)


def give_way() -> None:
    """Let all processes of the usual priority come before this one.

    It gets a session of its own, because the kernel may share the processor between sessions first
    (sched(7), autogroup).
    """
    # A child of `serve` has one already.
    with suppress(PermissionError):
        os.setsid()
    os.nice(NICE)
    # The kernel may not have it.
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICE))
