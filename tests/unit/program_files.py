"""Files in the form of other programs' exports, with invented people.

Sources of the forms are named beside each. `targets` are those of its columns that are known.
"""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from transfers.columns import Kind


class ProgramFile(NamedTuple):
    """A file, the targets of its columns, and its first row as crm or events validate it."""

    text: str
    targets: dict[str, str]
    first: dict[str, Any]
    options: dict[str, Any]
    kind: Kind = "contacts"


def titles(*names: str) -> list[dict[str, str]]:
    """Return labels by their titles."""
    return [{"title": name} for name in names]


FILES = {
    # The labels of FluentCRM Pro's export, and of app/Models/Subscriber.php, mappables.
    "fluentcrm": ProgramFile(
        "ID,User ID,Title,First Name,Last Name,Email,Timezone,Address Line 1,Address Line 2,"
        "Postal Code,City,State,Country,IP Address,Phone,Status,Contact Type,Source,"
        "Date Of Birth,Last Activity,Created At,Updated At,Lists,Tags,Shoe size\n"
        "7,57,Ms,Ada,Lovelace,ada@example.com,Europe/London,St James's Sq 12,,SW1Y 4JH,London,,GB,"
        "192.0.2.1,+44 20 7946 0001,unsubscribed,customer,web,1815-12-10,2025-03-01 08:00:00,"
        '2024-02-03 04:05:06,2025-03-01 08:00:00,News,"VIP, Buyer",38\n',
        {
            "User ID": "user_id",
            "Title": "prefix",
            "First Name": "first_name",
            "Last Name": "last_name",
            "Email": "email",
            "Timezone": "timezone",
            "Address Line 1": "address_line_1",
            "Address Line 2": "address_line_2",
            "Postal Code": "postal_code",
            "City": "city",
            "State": "state",
            "Country": "country",
            "IP Address": "ip",
            "Phone": "phone",
            "Status": "status",
            "Contact Type": "contact_type",
            "Source": "source",
            "Date Of Birth": "date_of_birth",
            "Last Activity": "last_activity",
            "Created At": "created_at",
            "Lists": "lists",
            "Tags": "tags",
            "Shoe size": "custom:size",
        },
        {
            "user_id": "57",
            "prefix": "Ms",
            "first_name": "Ada",
            "last_name": "Lovelace",
            "email": "ada@example.com",
            "timezone": "Europe/London",
            "address_line_1": "St James's Sq 12",
            "postal_code": "SW1Y 4JH",
            "city": "London",
            "country": "GB",
            "ip": "192.0.2.1",
            "phone": "+44 20 7946 0001",
            "status": "unsubscribed",
            "contact_type": "customer",
            "source": "web",
            "date_of_birth": "1815-12-10",
            "last_activity": "2025-03-01T08:00:00+00:00",
            "created_at": "2024-02-03T04:05:06+00:00",
            "lists": titles("News"),
            "tags": titles("VIP", "Buyer"),
            "custom_values": {"size": "38"},
        },
        {},
    ),
    # Mailchimp's file of subscribed contacts. A birthday has no year there.
    "mailchimp": ProgramFile(
        '"Email Address","First Name","Last Name",Address,"Phone Number",Birthday,MEMBER_RATING,'
        "OPTIN_TIME,OPTIN_IP,CONFIRM_TIME,CONFIRM_IP,LATITUDE,LONGITUDE,GMTOFF,DSTOFF,TIMEZONE,CC,"
        "REGION,LAST_CHANGED,LEID,EUID,NOTES,TAGS\n"
        "ada@example.com,Ada,Lovelace,12 St James's Sq  London  SW1Y 4JH,,12/10,4,"
        '"2020-02-03 04:05:06",192.0.2.1,"2020-02-03 04:06:00",192.0.2.2,51.5,-0.13,0,1,'
        'Europe/London,gb,eng,"2021-01-01 00:00:00",1,ab,,"""VIP"",""Blog, weekly"""\n',
        {
            "Email Address": "email",
            "First Name": "first_name",
            "Last Name": "last_name",
            "Address": "address_line_1",
            "Phone Number": "phone",
            "OPTIN_TIME": "created_at",
            "CONFIRM_IP": "ip",
            "LATITUDE": "latitude",
            "LONGITUDE": "longitude",
            "TIMEZONE": "timezone",
            "CC": "country",
            "REGION": "state",
            "TAGS": "tags",
        },
        {
            "email": "ada@example.com",
            "first_name": "Ada",
            "last_name": "Lovelace",
            "address_line_1": "12 St James's Sq  London  SW1Y 4JH",
            "created_at": "2020-02-03T04:05:06+00:00",
            "ip": "192.0.2.2",
            "latitude": "51.5",
            "longitude": "-0.13",
            "timezone": "Europe/London",
            "country": "gb",
            "state": "eng",
            "tags": titles("VIP", "Blog, weekly"),
            "lists": [],
            "status": "pending",
        },
        {"status": "pending"},
    ),
    # Mailchimp's file of unsubscribed contacts says so again, whatever status is chosen for it.
    "mailchimp unsubscribed": ProgramFile(
        "Email Address,First Name,UNSUB_TIME,UNSUB_CAMPAIGN_TITLE,UNSUB_REASON,LEID,EUID\n"
        "ada@example.com,Ada,2021-05-06 07:08:09,Spring,NORMAL,1,ab\n",
        {"Email Address": "email", "First Name": "first_name", "UNSUB_TIME": "opt_out"},
        {
            "email": "ada@example.com",
            "first_name": "Ada",
            "status": "unsubscribed",
            "tags": [],
            "lists": [],
        },
        {"status": "subscribed"},
    ),
    # ActiveCampaign's export of contacts.
    "activecampaign": ProgramFile(
        "Email,First Name,Last Name,Phone,Tags,Lists,Date Created,IP,Status\n"
        'ada@example.com,Ada,Lovelace,,"lead, webinar",News,2021-07-08 09:10:11,192.0.2.1,2\n',
        {
            "Email": "email",
            "First Name": "first_name",
            "Last Name": "last_name",
            "Phone": "phone",
            "Tags": "tags",
            "Lists": "lists",
            "Date Created": "created_at",
            "IP": "ip",
            "Status": "status",
        },
        {
            "email": "ada@example.com",
            "first_name": "Ada",
            "last_name": "Lovelace",
            "tags": titles("lead", "webinar"),
            "lists": titles("News"),
            "created_at": "2021-07-08T09:10:11+00:00",
            "ip": "192.0.2.1",
            "status": "unsubscribed",
        },
        {},
    ),
    # Keila's test/keila/contacts/import_rfc_4180_with_status.csv, import_with_data.csv and
    # import_external_ids.csv.
    "keila": ProgramFile(
        "Email,First name,Last name,Data,External ID,Status\n"
        'ada@example.com,Ada,Þorláksson,"{""plan"":[1,2]}",k1,unreachable\n',
        {
            "Email": "email",
            "First name": "first_name",
            "Last name": "last_name",
            "Data": "custom_values",
            "External ID": "user_id",
            "Status": "status",
        },
        {
            "email": "ada@example.com",
            "first_name": "Ada",
            "last_name": "Þorláksson",
            "custom_values": {"plan": [1, 2]},
            "user_id": "k1",
            "status": "bounced",
            "tags": [],
            "lists": [],
        },
        {},
    ),
    # Brevo's export, in French.
    "brevo": ProgramFile(
        "EMAIL;NOM;PRENOM;SMS;EMAIL_BLACKLISTED;SMS_BLACKLISTED;ADDED_TIME;MODIFIED_TIME\n"
        "ada@example.com;Durand;Ada;33611111111;Yes;No;12-04-2022 09:30;13-04-2022 10:00\n",
        {
            "EMAIL": "email",
            "NOM": "last_name",
            "PRENOM": "first_name",
            "SMS": "phone",
            "EMAIL_BLACKLISTED": "opt_out",
            "ADDED_TIME": "created_at",
        },
        {
            "email": "ada@example.com",
            "last_name": "Durand",
            "first_name": "Ada",
            "phone": "33611111111",
            "created_at": "2022-04-12T09:30:00+00:00",
            "status": "unsubscribed",
            "tags": [],
            "lists": [],
        },
        {"status": "subscribed", "date_order": "dmy"},
    ),
    # listmonk's cmd/subscribers.go, which prints times as Go does.
    "listmonk": ProgramFile(
        "uuid,email,name,attributes,status,created_at,updated_at\n"
        'c0ffee,ada@example.com,Ada King Lovelace,"{""city"": ""Rome""}",blocklisted,'
        "2023-01-02 03:04:05.123456 +0000 UTC,2023-01-02 03:04:05 +0000 UTC\n",
        {
            "email": "email",
            "name": "full_name",
            "attributes": "custom_values",
            "status": "status",
            "created_at": "created_at",
        },
        {
            "email": "ada@example.com",
            "full_name": "Ada King Lovelace",
            "custom_values": {"city": "Rome"},
            "status": "unsubscribed",
            "created_at": "2023-01-02T03:04:05.123456+00:00",
            "tags": [],
            "lists": [],
        },
        {},
    ),
    # HubSpot's export of contacts.
    "hubspot": ProgramFile(
        "Record ID,First Name,Last Name,Email,Phone Number,Job Title,Lead Status,Create Date,"
        "Country/Region,State/Region,Unsubscribed from all email\n"
        "101,Ada,Lovelace,ada@example.com,,Analyst,NEW,2024-03-12 09:14,France,IDF,true\n",
        {
            "First Name": "first_name",
            "Last Name": "last_name",
            "Email": "email",
            "Phone Number": "phone",
            "Create Date": "created_at",
            "Country/Region": "country",
            "State/Region": "state",
            "Unsubscribed from all email": "opt_out",
        },
        {
            "first_name": "Ada",
            "last_name": "Lovelace",
            "email": "ada@example.com",
            "created_at": "2024-03-12T09:14:00+00:00",
            "country": "France",
            "state": "IDF",
            "status": "unsubscribed",
            "tags": [],
            "lists": [],
        },
        {"status": "subscribed"},
    ),
    # Klaviyo's export of profiles. Who never subscribed must not become subscribed.
    "klaviyo": ProgramFile(
        "Email,Klaviyo ID,First Name,Last Name,Phone Number,City,Country,Zip Code,Last Active,"
        "Profile Created On,Email Marketing Consent,Email Suppressions\n"
        "ada@example.com,01AB,Ada,Lovelace,+442079460001,London,United Kingdom,SW1Y 4JH,"
        "2025-01-01 10:00:00,2024-01-01 10:00:00,NEVER_SUBSCRIBED,[]\n",
        {
            "Email": "email",
            "First Name": "first_name",
            "Last Name": "last_name",
            "Phone Number": "phone",
            "City": "city",
            "Country": "country",
            "Zip Code": "postal_code",
            "Last Active": "last_activity",
            "Profile Created On": "created_at",
            "Email Marketing Consent": "status",
            "Email Suppressions": "opt_out",
        },
        {
            "email": "ada@example.com",
            "first_name": "Ada",
            "last_name": "Lovelace",
            "phone": "+442079460001",
            "city": "London",
            "country": "United Kingdom",
            "postal_code": "SW1Y 4JH",
            "last_activity": "2025-01-01T10:00:00+00:00",
            "created_at": "2024-01-01T10:00:00+00:00",
            "status": "pending",
            "tags": [],
            "lists": [],
        },
        {},
    ),
    "german": ProgramFile(
        "sep=;\r\nAnrede;Vorname;Name;E-Mail-Adresse;Straße;PLZ;Ort;Land;Telefon;Geburtsdatum\r\n"
        "Frau;Ada;Müller;ada@example.com;Hauptstr. 1;01067;Dresden;DE;'+49 351 1;10.12.1990\r\n",
        {
            "Anrede": "prefix",
            "Vorname": "first_name",
            "Name": "last_name",
            "E-Mail-Adresse": "email",
            "Straße": "address_line_1",
            "PLZ": "postal_code",
            "Ort": "city",
            "Land": "country",
            "Telefon": "phone",
            "Geburtsdatum": "date_of_birth",
        },
        {
            "prefix": "Frau",
            "first_name": "Ada",
            "last_name": "Müller",
            "email": "ada@example.com",
            "address_line_1": "Hauptstr. 1",
            "postal_code": "01067",
            "city": "Dresden",
            "country": "DE",
            "phone": "+49 351 1",
            "date_of_birth": "1990-12-10",
            "status": "subscribed",
            "tags": [],
            "lists": [],
        },
        {"date_order": "dmy", "status": "subscribed"},
    ),
    "spanish": ProgramFile(
        "Nombre;Apellidos;Correo electrónico;Teléfono;Código postal;Ciudad;País\n"
        "Ada;Núñez;ada@example.com;600 000 001;28001;Madrid;ES\n",
        {
            "Nombre": "first_name",
            "Apellidos": "last_name",
            "Correo electrónico": "email",
            "Teléfono": "phone",
            "Código postal": "postal_code",
            "Ciudad": "city",
            "País": "country",
        },
        {
            "first_name": "Ada",
            "last_name": "Núñez",
            "email": "ada@example.com",
            "phone": "600 000 001",
            "postal_code": "28001",
            "city": "Madrid",
            "country": "ES",
            "status": "pending",
            "tags": [],
            "lists": [],
        },
        {"status": "pending"},
    ),
    # June.so's identifies.csv (github.com/ArvoanDev/juneso2rudderstack, data/).
    "june identifies": ProgramFile(
        '"user_id","anonymous_id","timestamp","traits","channel","context","message_id"\n'
        '"auth|5f7c","d9e9","2025-07-18 09:27:56.951000","{""email"":""ada@example.com"",'
        '""given_name"":""Ada"",""family_name"":""Lovelace"",""plan"":""pro"",'
        '""status"":""active"",""address"":{""city"":""Rome""}}","","{}",""\n',
        {"user_id": "user_id", "traits": "traits"},
        {
            "user_id": "auth|5f7c",
            "email": "ada@example.com",
            "first_name": "Ada",
            "last_name": "Lovelace",
            "city": "Rome",
            "custom_values": {"plan": "pro", "status": "active"},
            "status": "pending",
            "tags": [],
            "lists": [],
        },
        {"status": "pending"},
    ),
    # June.so's events.csv: type 2 is track, unused times are 1970.
    "june events": ProgramFile(
        '"type","name","timestamp","user_id","anonymous_id","properties","channel","context",'
        '"integrations","message_id","sent_at","received_at","original_timestamp","version"\n'
        '2,"Open Modal","2025-07-18 07:32:40.369000","auth|5f7c","d9e9","{""step"":1}","",'
        '"{""locale"":""en-US""}","null","","1970-01-01 00:00:00.000000",'
        '"1970-01-01 00:00:00.000000","1970-01-01 00:00:00.000000",0\n',
        {
            "type": "type",
            "name": "name",
            "timestamp": "occurred_at",
            "user_id": "user_id",
            "properties": "properties",
            "context": "context",
            "message_id": "idempotency_key",
        },
        {
            "event_key": "Open Modal",
            "title": "Open Modal",
            "occurred_at": datetime(2025, 7, 18, 7, 32, 40, 369000, UTC),
            "user_id": "auth|5f7c",
            "properties": {"step": 1},
            "context": {"locale": "en-US"},
        },
        {},
        "events",
    ),
    # Segment's calls, a line each. See segment.com/docs/connections/spec/track.
    "segment": ProgramFile(
        '{"type":"track","event":"Order placed","userId":"u1","messageId":"m1",'
        '"properties":{"total":1299},"context":{"ip":"192.0.2.1"},'
        '"originalTimestamp":"2025-01-01T00:00:01Z","timestamp":"2025-01-01T00:00:00.5Z"}\n',
        {
            "type": "type",
            "event": "event_key",
            "userId": "user_id",
            "messageId": "idempotency_key",
            "properties": "properties",
            "context": "context",
            "timestamp": "occurred_at",
        },
        {
            "event_key": "Order placed",
            "title": "Order placed",
            "user_id": "u1",
            "idempotency_key": "m1",
            "properties": {"total": 1299},
            "context": {"ip": "192.0.2.1"},
            "occurred_at": datetime(2025, 1, 1, 0, 0, 0, 500000, UTC),
        },
        {},
        "events",
    ),
    "events of a shop": ProgramFile(
        "E-Mail;Ereignis;Wert;Datum;properties.plan;context.ip;counter\n"
        "ada@example.com;Bestellung;1.299,50;31.12.2024 23:30;pro;192.0.2.1;3\n",
        {
            "E-Mail": "email",
            "Ereignis": "event_key",
            "Wert": "value",
            "Datum": "occurred_at",
            "properties.plan": "properties.plan",
            "context.ip": "context.ip",
            "counter": "counter",
        },
        {
            "email": "ada@example.com",
            "event_key": "Bestellung",
            "title": "Bestellung",
            "value": "1299.50",
            "occurred_at": datetime(2024, 12, 31, 22, 30, tzinfo=UTC),
            "properties": {"plan": "pro"},
            "context": {"ip": "192.0.2.1"},
            "counter": 3,
        },
        {"date_order": "dmy", "decimal_mark": ",", "zone": "Europe/Berlin"},
        "events",
    ),
    # Tallybook's own NDJSON (events/exports.py, write_ndjson).
    "tallybook": ProgramFile(
        '{"id":7,"email":"ada@example.com","first_name":"\'=Ada","email_key":"ada@example.com",'
        '"status":"complained","made_by_track":false,"custom_values":{"size":"L"},'
        '"created_at":"2024-01-01T00:00:00+00:00","date_of_birth":null,'
        '"tags":[{"id":1,"title":"a, b","slug":"a-b"}],"lists":[],'
        '"identities":[{"kind":"user","source":"shop","value":"57"}],"events":[]}\n',
        {
            "email": "email",
            "first_name": "first_name",
            "status": "status",
            "custom_values": "custom_values",
            "created_at": "created_at",
            "date_of_birth": "date_of_birth",
            "tags": "tags",
            "lists": "lists",
            "identities": "identities",
        },
        {
            "email": "ada@example.com",
            "first_name": "'=Ada",
            "status": "complained",
            "custom_values": {"size": "L"},
            "created_at": "2024-01-01T00:00:00+00:00",
            "tags": [{"id": 1, "title": "a, b", "slug": "a-b"}],
            "lists": [],
            "identities": [{"kind": "user", "source": "shop", "value": "57"}],
        },
        {},
    ),
}
