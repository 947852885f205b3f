"""Check the settings of a PostgreSQL of one's own. Those of the embedded one are chosen."""

from typing import NamedTuple

from config.database import fetch_rows


class Findings(NamedTuple):
    """Sentences about settings: those that have to change, and those that should."""

    faults: list[str]
    advice: list[str]


# Settings that have to be on, and why.
REQUIRED = {
    "fsync": "a crash of the machine can destroy the database",
    "full_page_writes": "a crash of the machine can destroy the database",
    "synchronous_commit": "a crash loses events that were answered with 200",
    "autovacuum": "tables and their indexes grow without end",
}
# Settings, their value by default in bytes, and a better one. See machine_settings of
# config/server/postgres.py.
DEFAULTS = {
    "shared_buffers": (128 << 20, "a quarter of the machine's memory, but not over 2GB"),
    "effective_cache_size": (4 << 30, "half of the machine's memory, or 3/4 without Tallybook"),
    "work_mem": (4 << 20, "1/256 of the machine's memory, but not over 64MB"),
    "max_wal_size": (1 << 30, "a sixteenth of its disk, but not over 8GB"),
    "min_wal_size": (80 << 20, "a quarter of max_wal_size"),
}
# Before PostgreSQL 14 its default was 0.5, which old configuration files still have.
LEAST_TARGET = 0.9
SWITCHED_OFF = """
SELECT name FROM unnest(%(names)s::text[]) WITH ORDINALITY setting(name, place)
WHERE current_setting(name) = 'off' ORDER BY place
"""
SIZES = """
SELECT name, current_setting(name), pg_size_bytes(current_setting(name))
FROM unnest(%(names)s::text[]) name
"""
TARGET = """
SELECT setting FROM pg_settings
WHERE name = 'checkpoint_completion_target' AND setting::float < %(least)s
"""


def check_settings() -> Findings:
    """Return what is to be changed in the settings of the database's server."""
    faults = [
        f"{name} is off: switch it on, because otherwise {REQUIRED[name]}."
        for (name,) in fetch_rows(SWITCHED_OFF, {"names": list(REQUIRED)})
    ]
    advice = [
        f"{name} is {value}: better is {DEFAULTS[name][1]}."
        for name, value, size in fetch_rows(SIZES, {"names": list(DEFAULTS)})
        if size <= DEFAULTS[name][0]
    ]
    advice += [
        f"checkpoint_completion_target is {value}: better is {LEAST_TARGET}."
        for (value,) in fetch_rows(TARGET, {"least": LEAST_TARGET})
    ]
    return Findings(faults, advice)
