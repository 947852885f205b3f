"""actid and key, ActiveCampaign's credential for the event call: made, shown, rotated, compared."""

import hmac
import secrets

from django.utils.timezone import now

from config.database import fetch_row_reconnecting
from events.models import TrackingKey

ONLY = 1
ACTID_DIGITS = 9
KEY_BYTES = 20
PAIR = "SELECT actid, key FROM events_trackingkey"


def tracking_key() -> TrackingKey:
    """The pair; made now if there is none."""
    pair, _ = TrackingKey.objects.get_or_create(
        id=ONLY, defaults={"actid": _new_actid(), "key": _new_key(), "created_at": now()}
    )
    return pair


def rotate_tracking_key() -> TrackingKey:
    """The pair with a new key; the old one is refused from the next request on."""
    pair = tracking_key()
    pair.key, pair.created_at = _new_key(), now()
    pair.save(update_fields=["key", "created_at"])
    return pair


def credentials_match(actid: str, key: str) -> bool:
    """Whether these are the account id and the event key; takes as long whichever is wrong."""
    row = fetch_row_reconnecting(PAIR, {})
    stored_actid, stored_key = row or ("", "")
    right_actid = hmac.compare_digest(actid.encode(), stored_actid.encode())
    right_key = hmac.compare_digest(key.encode(), stored_key.encode())
    return row is not None and right_actid and right_key


def _new_actid() -> str:
    return str(secrets.randbelow(9 * 10 ** (ACTID_DIGITS - 1)) + 10 ** (ACTID_DIGITS - 1))


def _new_key() -> str:
    return secrets.token_hex(KEY_BYTES)
