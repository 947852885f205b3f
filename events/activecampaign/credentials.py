"""Create, rotate and check actid and key, the credentials of ActiveCampaign's event call."""

import hmac
import secrets

from django.utils.timezone import now

from config.database import FirstStatement, Row, fetch_rows_reconnecting
from events.models import TrackingKey

ROW_ID = 1
ACTID_DIGITS = 9
KEY_BYTES = 20
SELECT = "SELECT actid, key FROM events_trackingkey"


def tracking_key() -> TrackingKey:
    """Return the pair, which is created if there is none."""
    pair, _ = TrackingKey.objects.get_or_create(
        id=ROW_ID, defaults={"actid": _new_actid(), "key": _new_key(), "created_at": now()}
    )
    return pair


def rotate_tracking_key() -> TrackingKey:
    """Return the pair with a new key; the old one is rejected from the next request on."""
    pair = tracking_key()
    pair.key, pair.created_at = _new_key(), now()
    pair.save(update_fields=["key", "created_at"])
    return pair


def credentials_match(actid: str, key: str) -> bool:
    """Return whether both are right, in a time that does not tell which is wrong."""
    stored = _stored_pairs.run(None)
    stored_actid, stored_key = stored or ("", "")
    actid_matches = hmac.compare_digest(actid.encode(), stored_actid.encode())
    key_matches = hmac.compare_digest(key.encode(), stored_key.encode())
    return stored is not None and actid_matches and key_matches


def _read_pair_together(asked: list[None]) -> list[Row | None]:
    """Return the stored pair, or None, for the requests of several threads, by one statement."""
    rows = fetch_rows_reconnecting(SELECT, {})
    return [rows[0] if rows else None] * len(asked)


_stored_pairs = FirstStatement(_read_pair_together)


def _new_actid() -> str:
    return str(secrets.randbelow(9 * 10 ** (ACTID_DIGITS - 1)) + 10 ** (ACTID_DIGITS - 1))


def _new_key() -> str:
    return secrets.token_hex(KEY_BYTES)
