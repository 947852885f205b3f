"""The words of demo data: kinds of events, contacts, tags and lists."""

import json
import random
import unicodedata
from dataclasses import dataclass
from itertools import islice
from typing import Any

from crm.labels import TRANSLITERATIONS, LabelKind

# Each area has a provider, a host, the subjects that its titles end with, and its keys with the
# start of their titles and their values. Without values they are numbers from 0 to 1000.
AREAS: list[tuple[str, str, list[str], dict[str, tuple[str, str]]]] = [
    (
        "woocommerce",
        "shop.example.com",
        ["Tea and coffee", "Stationery", "Garden tools", "Kitchen knives", "Wool blankets"],
        {
            "purchase": ("Order placed", ""),
            "refund": ("Order refunded", ""),
            "cart_total": ("Cart changed", ""),
            "checkout_started": ("Checkout started", ""),
            "order_shipped": ("Order shipped", "parcel letter courier"),
            "order_delivered": ("Order delivered", "door neighbour locker"),
            "product_viewed": ("Product viewed", "list search recommended"),
            "product_reviewed": ("Product reviewed", "poor fair good excellent"),
            "wishlist_added": ("Put on the wishlist", "public private"),
            "coupon_used": ("Coupon used", "WELCOME10 SPRING FREESHIP"),
        },
    ),
    (
        "learndash",
        "learn.example.com",
        ["Watercolour", "Bookkeeping", "Bread baking", "Spanish A1", "Photography"],
        {
            "lesson_completed": ("Lesson completed", "first-try repeated"),
            "lesson_started": ("Lesson started", "phone tablet desktop"),
            "quiz_score": ("Quiz taken", ""),
            "quiz_failed": ("Quiz failed", "time points"),
            "course_enrolled": ("Enrolled", "paid free gift"),
            "course_completed": ("Course completed", "in-time late"),
            "certificate_issued": ("Certificate issued", "pdf paper"),
            "assignment_sent": ("Assignment sent", "text picture video"),
            "video_seconds": ("Video watched", ""),
            "forum_post": ("Posted in the forum", "question answer"),
        },
    ),
    (
        "custom",
        "app.example.com",
        ["Web", "iPhone", "Android", "Windows", "Mac"],
        {
            "login": ("Logged in", "password passkey link"),
            "logout": ("Logged out", "button timeout"),
            "login_failed": ("Login failed", "password code locked"),
            "page_view": ("Page viewed", "home pricing account help"),
            "search": ("Searched", "tea pencil knife blanket course"),
            "profile_updated": ("Profile changed", "name address picture"),
            "file_exported": ("File exported", "csv pdf xlsx"),
            "session_minutes": ("Session ended", ""),
            "ticket_opened": ("Ticket opened", "low normal urgent"),
            "plan_changed": ("Plan changed", "free team business"),
        },
    ),
    (
        "fluentcrm",
        "news.example.com",
        ["Weekly letter", "Welcome series", "Spring sale", "Product news", "Survey"],
        {
            "email_opened": ("E-mail opened", "phone desktop webmail"),
            "email_clicked": ("Link clicked", "picture button footer"),
            "email_replied": ("E-mail answered", "thanks question complaint"),
            "email_forwarded": ("E-mail forwarded", "friend colleague"),
            "form_submitted": ("Form submitted", "footer popup landing-page"),
            "survey_points": ("Survey answered", ""),
            "webinar_joined": ("Webinar joined", "live recording"),
            "link_shared": ("Link shared", "mail chat social"),
            "unsubscribed": ("Unsubscribed", "seldom-read too-many other"),
            "preferences_saved": ("Preferences saved", "daily weekly monthly"),
        },
    ),
]

# The number of keys with a title, and the number of different details of each.
KINDS = sum(len(subjects) * len(keys) for _, _, subjects, keys in AREAS)
DETAILS = 100

# Country, dialling code, cities, first names, last names.
PLACES = [
    [column.split() for column in place.split("|")]
    for place in (
        "GB|+44|London Leeds Bristol|Grace Oliver Zoë Harry Amelia|Smith Hughes O'Neill Okafor",
        "US|+1|Austin Boston Portland|Mary James Aaliyah Noah Emma|Johnson Nguyen Brown Garcia",
        "DE|+49|Köln Berlin München|Jürgen Anneliese Björn Käthe Lena|Müller Groß Schröder Weiß",
        "FR|+33|Paris Lyon Orléans|Chloé François Hélène Théo Maëlle|Dupont Lefèvre Benoît Garçon",
        "ES|+34|Madrid Málaga León|José Begoña Íñigo Lucía Andrés|García Muñoz Núñez Peña",
        "PL|+48|Łódź Kraków Gdańsk|Łukasz Małgorzata Zofia Żaneta Paweł|Wójcik Dąbrowska Król",
        "DK|+45|Århus København Odense|Søren Åse Bjørn Mette Jørgen|Sørensen Kjær Østergård",
        "TR|+90|Ankara Bursa Muğla|Ayşe Çağla Gökhan Ömer Şule|Yılmaz Öztürk Şahin",
        "VN|+84|Huế Vinh Hạ-Long|Ngọc Thảo Đức Hương Tuấn|Nguyễn Trần Phạm Lê",
        "UA|+380|Київ Львів Одеса|Олена Тарас Ірина Богдан Оксана|Шевченко Коваль Бондар",
        "GR|+30|Αθήνα Πάτρα Βόλος|Ελένη Γιώργος Σοφία Νίκος Μαρία|Παππάς Νικολάου Δήμου",
        "JP|+81|東京 大阪 京都|葵 陽菜 蓮 結衣 湊|佐藤 鈴木 高橋 田中",
        "EG|+20|القاهرة الإسكندرية أسوان|فاطمة أحمد ليلى عمر مريم|حسن السيد منصور",
        "IN|+91|मुंबई दिल्ली पुणे|अनन्या रोहन प्रिया अर्जुन दीया|शर्मा पटेल गुप्ता",
    )
]
STATUSES = ["subscribed"] * 16 + ["pending", "unsubscribed", "unsubscribed", "bounced"]
CONTACT_TYPES = ["lead", "lead", "customer"]
SOURCES = ["web", "web", "web", "woocommerce", "woocommerce", "import", "api", "fluentform"]
# The share of contacts that have each tag and list.
LABELS: dict[LabelKind, dict[str, float]] = {
    "tags": {
        **{"VIP customer": 0.05, "Early bird": 0.05, "Student": 0.15, "Tea lover": 0.15},
        **{"Gardener": 0.1, "Beta tester": 0.02, "Webinar guest": 0.05, "Wholesale": 0.02},
    },
    "lists": {"Newsletter": 0.6, "Product updates": 0.2, "Course news": 0.1, "Partners": 0.02},
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A key with a title, and its details: tuples of value, properties and context."""

    key: str
    title: str
    provider: str
    details: list[tuple[str, str, str]]


def kinds(chance: random.Random) -> list[Kind]:
    """Return all KINDS kinds."""
    return [
        Kind(key, f"{title}: {subject}", provider, _details(chance, key, host, subject, words))
        for provider, host, subjects, keys in AREAS
        for subject in subjects
        for key, (title, words) in keys.items()
    ]


def _details(
    chance: random.Random, key: str, host: str, subject: str, words: str
) -> list[tuple[str, str, str]]:
    details = []
    for step in range(DETAILS):
        # One from each hundredth of 0 to 1000, so that all numbers are equally frequent.
        numbers = [f"{(step + chance.random()) * 1000 / DETAILS:.2f}"]
        value = chance.choice(words.split() or numbers)
        properties: dict[str, Any] = {}
        if host == "learn.example.com":
            properties = {"course": subject}
        elif host == "shop.example.com" and not words:
            currency = chance.choice(("EUR", "GBP", "USD"))
            properties = {
                "total": float(value),
                "currency": currency,
                "items": chance.randint(1, 9),
            }
        source = chance.choice(("newsletter", "search"))
        context = {"url": f"https://{host}/{key}", "utm_source": source}
        partial = dict(islice(context.items(), chance.randint(0, 2)))
        details.append((value, json.dumps(properties), json.dumps(partial)))
    return details


def contact_columns(chance: random.Random, number: int) -> tuple[str, ...]:
    """Return first and last name, e-mail, country, city, phone, status, type and source."""
    [country], [code], cities, first_names, last_names = chance.choice(PLACES)
    first, last = chance.choice(first_names), chance.choice(last_names)
    name = ".".join(filter(None, (_ascii(first), _ascii(last), f"demo{number}")))
    return (
        *(first, last, f"{name}@example.{chance.choice(('com', 'net', 'org'))}"),
        *(country, chance.choice(cities), f"{code} 555 {chance.randrange(10**6):06}"),
        *(chance.choice(STATUSES), chance.choice(CONTACT_TYPES), chance.choice(SOURCES)),
    )


def _ascii(name: str) -> str:
    """Return the ASCII letters of a name for an e-mail, none of a name in another script."""
    letters = unicodedata.normalize("NFKD", name.lower().translate(TRANSLITERATIONS))
    return "".join(letter for letter in letters if letter.isascii() and letter.isalpha())
