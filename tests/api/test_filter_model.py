"""Random filters find the contacts that a plain evaluation in Python finds."""

from typing import Any

import pytest
from django.utils import timezone
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from crm.filters import contacts_matching, read_filters, those_matching
from crm.models import Identity, List, Subscriber, Tag
from events.models import EventOccurrence, TrackedEvent
from tests.api.filter_model import CONTACTS, FILTERS, LOG_FILTERS, Contact, Item
from tests.api.savepoints import rolled_back

# In make test, and in make test-long.
EXAMPLES = {"short": 100, "long": 10_000}


def create_four(model: type[Tag | List]) -> list[int]:
    """Create four tags or lists and return their ids. No contact gets the last one."""
    slugs = ("t0", "t1", "t2", "t3")
    return [model._base_manager.create(title=slug, slug=slug).pk for slug in slugs]


def save(contacts: list[Contact], tags: list[int], lists: list[int]) -> None:
    """Store contacts with their users, tags, lists, events and occurrences."""
    rows = Subscriber.objects.bulk_create(
        Subscriber(email=f"c{index}@example.com", **contact.columns)
        for index, contact in enumerate(contacts)
    )
    pairs = list(zip(rows, contacts, strict=True))
    Identity.objects.bulk_create(
        Identity(subscriber=row, value=row.email, **Identity.USER)
        for row, contact in pairs
        if contact.user
    )
    Subscriber.tags.through.objects.bulk_create(
        Subscriber.tags.through(subscriber_id=row.pk, tag_id=tags[place])
        for row, contact in pairs
        for place in contact.tags
    )
    Subscriber.lists.through.objects.bulk_create(
        Subscriber.lists.through(subscriber_id=row.pk, list_id=lists[place])
        for row, contact in pairs
        for place in contact.lists
    )
    events = [(row, event) for row, contact in pairs for event in contact.events]
    tracked = TrackedEvent.objects.bulk_create(
        TrackedEvent(
            subscriber=row,
            event_key=event.key,
            title=event.title,
            value=event.value,
            provider=event.provider,
            counter=event.counter,
            unlogged=event.unlogged,
            repeatable=True,
            created_at=min(one.at for one in event.log),
            updated_at=max(one.at for one in event.log),
        )
        for row, event in events
    )
    EventOccurrence.objects.bulk_create(
        EventOccurrence(
            event=tracked_event,
            subscriber=row,
            event_key=event.key,
            provider=one.provider,
            value=one.value,
            counter=event.unlogged + place,
            properties=one.properties,
            occurred_at=one.at,
            received_at=timezone.now(),
        )
        for tracked_event, (row, event) in zip(tracked, events, strict=True)
        for place, one in enumerate(event.log, 1)
    )


def as_sent(filters: list[list[Item]], tags: list[int], lists: list[int]) -> list[list[Any]]:
    """Return the filter with ids for the places of tags and lists."""
    ids = {"tags": tags, "lists": lists}

    def one(condition: Item) -> dict[str, Any]:
        name = condition.sent["source"][1]
        if name not in ids:
            return condition.sent
        places = condition.sent["value"]
        return {**condition.sent, "value": [ids[name][place] for place in places]}

    return [[one(condition) for condition in group] for group in filters]


def evaluate(filters: list[list[Item]], contacts: list[Contact]) -> list[str]:
    """Return the e-mails of the contacts that match one of the groups, if there is any."""
    groups = [group for group in filters if group]
    return [
        f"c{index}@example.com"
        for index, contact in enumerate(contacts)
        if not groups
        or any(all(condition.fits(contact) for condition in group) for group in groups)
    ]


@pytest.mark.parametrize(
    ("drawn", "share"),
    [(st.lists(FILTERS, min_size=2, max_size=2), 1.0), (LOG_FILTERS, 0.3)],
    ids=["any", "occurrences"],
)
@pytest.mark.django_db
def test_a_random_filter_finds_the_contacts_that_an_evaluation_in_python_finds(
    drawn: st.SearchStrategy[list[list[list[Item]]]], share: float
) -> None:
    tags, lists = create_four(Tag), create_four(List)

    @settings(
        max_examples=int(EXAMPLES[settings.get_current_profile_name()] * share),
        # Without the explanation of what fails, which takes minutes.
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
    )
    @given(st.lists(CONTACTS, min_size=1, max_size=5), drawn)
    def run(contacts: list[Contact], several: list[list[list[Item]]]) -> None:
        with rolled_back():
            save(contacts, tags, lists)
            named = list(Subscriber.objects.order_by("id").values_list("id", flat=True)[:2])
            for filters in several:
                expected = evaluate(filters, contacts)
                sent = as_sent(filters, tags, lists)
                found = contacts_matching(sent).order_by("id")
                assert list(found.values_list("email", flat=True)) == expected, sent
                of_named = those_matching(named, read_filters(sent, "filters")).order_by("id")
                names = [name for name in expected if name in ("c0@example.com", "c1@example.com")]
                assert list(of_named.values_list("email", flat=True)) == names, sent

    run()
