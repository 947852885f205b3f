"""Tell whether automations keep up."""

from config.database import fetch_one

SILENT_SECONDS = 30
LATE_SECONDS = 60
# Whether any automation is published, when a process was last at work, and how long the oldest
# entry of the outbox waits, in seconds.
STATE = """
SELECT EXISTS (SELECT FROM automations_automation WHERE status = 'published'),
       EXTRACT(EPOCH FROM clock_timestamp() - (SELECT max(seen_at) FROM automations_heartbeat)),
       EXTRACT(EPOCH FROM clock_timestamp()
                          - (SELECT created_at FROM crm_outboxentry ORDER BY id LIMIT 1))
"""


def lateness() -> str:
    """Return a sentence that says how automations fall behind, or "" if they do not."""
    is_used, silent, waiting = fetch_one(STATE, {})
    if not is_used:
        return ""
    if silent is None:
        return "No process runs automations. Start manage.py run_automations."
    if silent > SILENT_SECONDS:
        return f"No process has run automations for {int(silent)} seconds."
    if waiting is not None and waiting > LATE_SECONDS:
        return f"Automations are {int(waiting)} seconds late."
    return ""
