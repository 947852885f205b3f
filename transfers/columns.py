"""Guess which field each column of a file has, by its name in other programs' exports.

A mapping is column -> target. A target is a field of a contact or an event, `custom:SLUG` for a
custom value, `properties.NAME` or `context.NAME`, or IGNORE.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import orjson

from config.api.errors import FieldErrors, InvalidFields
from config.api.validation import INVISIBLE, MAX_NAME_LENGTH
from crm.api.fields import CONTACT_FIELDS
from crm.custom_fields import Fields

Kind = Literal["contacts", "events"]
# The target of each column.
ColumnTargets = Mapping[str, str]

IGNORE = "ignore"
CUSTOM = "custom:"
OBJECTS = ("properties", "context")
# Besides the columns: `opt_out` is a column that says of some contacts that they must not be
# mailed, `traits` an object of fields of a contact, `identities` those of Tallybook's own exports.
CONTACT_TARGETS = (*CONTACT_FIELDS, "full_name", "tags", "lists", "opt_out", "traits", "identities")
# `type` and `name` are those of Segment's calls: track, page and screen.
EVENT_TARGETS = (
    *("email", "user_id", "event_key", "title", "value", "provider", "occurred_at"),
    *("idempotency_key", "properties", "context", "repeatable", "counter", "type", "name"),
)
TARGETS: Mapping[Kind, Sequence[str]] = {"contacts": CONTACT_TARGETS, "events": EVENT_TARGETS}
# Those that several columns may have.
JOINED = ("tags", "lists", "opt_out")

# Columns of Tallybook's own export of occurrences as CSV.
OWN_OCCURRENCES = {"id", "event_id", "counter", "received_at"}

# What the column of an e-mail or an id is called, in any kind of file. The first is preferred.
# Sources: the exports of FluentCRM (labels of its app/Models/Subscriber.php and of Pro's export),
# Mailchimp, ActiveCampaign, Keila, Brevo, listmonk (cmd/subscribers.go), HubSpot and Klaviyo, and
# common headers in German, French and Spanish.
NAMES_OF_CONTACT = {
    "email": "email emailaddress primaryemail useremail mail emailadresse mailadresse courriel "
    "adressemail adresseemail adresseelectronique correo correoelectronico "
    "direcciondecorreoelectronico",
    "user_id": "userid externalid wpuserid customerid kundennummer",
}
NAMES: Mapping[Kind, Mapping[str, str]] = {
    "contacts": {
        **NAMES_OF_CONTACT,
        "prefix": "prefix nameprefix salutation anrede titel title civilite tratamiento",
        "first_name": "firstname fname givenname forename vorname prenom nombre",
        "last_name": "lastname lname surname familyname nachname familienname nomdefamille nom "
        "apellidos apellido",
        "full_name": "fullname name contactname vollstandigername nomcomplet nombrecompleto",
        "phone": "phone phonenumber telephone telefon telefonnummer tel telefono mobile "
        "mobilephone mobilephonenumber handy handynummer mobil portable movil sms",
        "address_line_1": "addressline1 address1 address streetaddress street adresse anschrift "
        "strasse rue direccion calle",
        "address_line_2": "addressline2 address2 adresszusatz complementdadresse",
        "postal_code": "postalcode zip zipcode postcode zippostalcode plz postleitzahl codepostal "
        "codigopostal",
        "city": "city town ort stadt wohnort ville ciudad poblacion",
        "state": "state stateregion stateprovince province bundesland provincia region",
        "country": "country countryregion land pays pais cc",
        "timezone": "timezone zeitzone fuseauhoraire zonahoraria",
        "ip": "ip ipaddress ip4 confirmip optinip",
        "latitude": "latitude lat",
        "longitude": "longitude lng lon",
        "status": "status contactstatus emailstatus subscriptionstatus statut "
        "emailmarketingconsent",
        "opt_out": "optout optedout unsubscribed unsubscribedat unsubtime unsub cleantime "
        "emailblacklisted unsubscribedfromallemail optedoutofemail emailoptout emailsuppressions "
        "donotcontact portalunsubscribe portalbounce portalspamreport globalbounce "
        "abgemeldet abgemeldetam desinscrit desabonne",
        "contact_type": "contacttype",
        "source": "source originalsource quelle origine origen",
        "date_of_birth": "dateofbirth birthday birthdate dob geburtsdatum geburtstag "
        "datedenaissance fechadenacimiento",
        "created_at": "createdat created datecreated createdate dateadded addedtime optintime "
        "confirmtime insertedat profilecreatedon dateregistered signupdate datedinscription",
        "last_activity": "lastactivity lastactivitydate lastactive",
        "total_points": "totalpoints points",
        "life_time_value": "lifetimevalue ltv",
        "avatar": "avatar avatarurl photo",
        "tags": "tags tag labels schlagworte etiquettes etiquetas",
        "lists": "lists list listen listes listas",
        "custom_values": "customvalues data attributes",
        "traits": "traits",
        "identities": "identities",
    },
    "events": {
        **NAMES_OF_CONTACT,
        "event_key": "eventkey event eventname action ereignis evenement evento",
        "title": "title eventtitle titel titre",
        "value": "value eventvalue amount revenue total wert betrag valeur montant valor",
        "provider": "provider eventprovider",
        "occurred_at": "occurredat timestamp eventtime time datetime date originaltimestamp "
        "createdat eventupdatedat sentat receivedat zeitpunkt datum zeit horodatage fecha",
        "idempotency_key": "idempotencykey messageid eventid insertid",
        "properties": "properties eventproperties props",
        "context": "context",
        "repeatable": "repeatable eventrepeatable",
        "counter": "counter eventcounter",
        "type": "type",
        "name": "name",
    },
}
TARGETS_BY_NAME: Mapping[Kind, Mapping[str, tuple[str, int]]] = {
    kind: {
        name: (target, rank)
        for target, names in targets.items()
        for rank, name in enumerate(names.split())
    }
    for kind, targets in NAMES.items()
}
NAMED_PART = re.compile(r"(properties|context)\.(.+)", re.IGNORECASE)
YEAR = re.compile(r"\d{4}")


def guess(
    columns: Sequence[str],
    samples: Sequence[Mapping[str, Any]],
    kind: Kind,
    declared: Fields | None = None,
) -> dict[str, str]:
    """Guess the target of each column. What is not known is IGNORE.

    Args:
        columns: the names of the columns.
        samples: the values of some rows.
        kind: what the rows are.
        declared: the definitions of custom fields, which slugs and labels name.
    """
    mapping = dict.fromkeys(columns, IGNORE)
    best: dict[str, tuple[int, str]] = {}
    slugs = {
        squash(name): f"{CUSTOM}{field.slug}"
        for field in (declared or {}).values()
        for name in (field.label, field.slug)
    }
    for column in columns:
        name = squash(column)
        if found := TARGETS_BY_NAME[kind].get(name):
            target, rank = found
            if not _fits(target, [sample.get(column) for sample in samples]):
                continue
            if target in JOINED:
                mapping[column] = target
            elif target not in best or rank < best[target][0]:
                best[target] = (rank, column)
        elif kind == "contacts" and name in slugs:
            best.setdefault(slugs[name], (0, column))
        elif kind == "events" and (part := NAMED_PART.fullmatch(column)):
            best.setdefault(f"{part[1].lower()}.{part[2]}", (0, column))
    if "first_name" in best and "last_name" not in best and "full_name" in best:
        # Beside "Vorname", "Name" is the last name.
        best["last_name"] = best.pop("full_name")
    for target, (_, column) in best.items():
        mapping[column] = target
    if kind == "events" and {*columns} >= OWN_OCCURRENCES:
        # Each row is one event, and its counter is that which it made.
        mapping |= {"id": "idempotency_key", "event_id": IGNORE, "counter": IGNORE}
    if not {"email", "user_id", "traits"} & best.keys():
        for column in columns:
            if mapping[column] == IGNORE and _are_emails(sample.get(column) for sample in samples):
                mapping[column] = "email"
                break
    return mapping


def check_mapping(mapping: ColumnTargets, columns: Iterable[str], kind: Kind) -> None:
    """Check the targets that an admin user has chosen.

    Raises:
        InvalidFields: a column or a target that does not exist, a target of two columns, or what
            a row of this kind needs is missing. The error is by column, or by target.
    """
    errors: FieldErrors = {}
    known = {*columns}
    used: dict[str, str] = {}
    for column, target in mapping.items():
        if column not in known:
            errors[column] = {"exists": f'The file has no column "{column}".'}
        elif not _is_target(target, kind):
            errors[column] = {"in": f'"{target}" is no field of {kind}.'}
        elif target in used and target not in (*JOINED, IGNORE):
            message = f'The columns "{used[target]}" and "{column}" are both {target}.'
            errors[column] = {"unique": message}
        used.setdefault(target, column)
    if not {"email", "user_id", "traits"} & used.keys():
        errors["email"] = {"required": "A column has to be email or user_id."}
    if kind == "events" and not {"event_key", "name", "type"} & used.keys():
        errors["event_key"] = {"required": "A column has to be event_key."}
    if errors:
        raise InvalidFields(errors)


def squash(name: str) -> str:
    """Return a name of a column as it compares: "E-Mail-Adresse" is "emailadresse"."""
    letters = unicodedata.normalize("NFKD", name.casefold())
    return "".join(letter for letter in letters if letter.isalnum())


def json_object(value: Any) -> dict[str, Any] | None:
    """Return an object, also of JSON text, or None."""
    if isinstance(value, str) and (text := value.strip(INVISIBLE)).startswith("{"):
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return None
    return value if isinstance(value, dict) else None


def _is_target(target: str, kind: Kind) -> bool:
    if target == IGNORE or target in TARGETS[kind]:
        return True
    prefixes = (CUSTOM,) if kind == "contacts" else tuple(f"{name}." for name in OBJECTS)
    prefix = next((each for each in prefixes if target.startswith(each)), "")
    return bool(prefix) and 0 < len(target.removeprefix(prefix).strip()) <= MAX_NAME_LENGTH


def _fits(target: str, values: Sequence[Any]) -> bool:
    """Return whether the values of a column may be those of a target that its name suggests."""
    present = [value for value in values if value not in (None, "")]
    if not present:
        return True
    if target in ("custom_values", "traits"):
        return any(json_object(value) is not None for value in present)
    if target == "identities":
        return any(isinstance(value, list) for value in present)
    # A birthday of Mailchimp has no year.
    return target != "date_of_birth" or any(YEAR.search(str(value)) for value in present)


def _are_emails(values: Iterable[Any]) -> bool:
    """Return whether most of the values look like e-mails."""
    present = [value for value in values if value not in (None, "")]
    return sum("@" in str(value) for value in present) * 5 > len(present) * 4
