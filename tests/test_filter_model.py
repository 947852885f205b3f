"""Random filters over random contacts find whom a plain evaluation in Python finds."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from crm.filters import contacts_matching, matches
from crm.models import List, Subscriber, Tag
from events.models import EventOccurrence, TrackedEvent
from tests.filter_model import FILTERS, PEOPLE, Item, Person

# In make test, and in make test-long.
EXAMPLES = {"short": 500, "long": 10_000}


def store(people: list[Person]) -> tuple[list[int], list[int]]:
    """Put people into empty tables; returns the ids of the three tags and lists."""
    User.objects.all().delete()
    for table in (EventOccurrence, TrackedEvent):
        table._base_manager.all().delete()
    Subscriber.objects.all().delete()
    now = timezone.now()
    contacts = Subscriber.objects.bulk_create(
        Subscriber(email=f"c{index}@example.com", **person.columns)
        for index, person in enumerate(people)
    )
    User.objects.bulk_create(
        User(username=contact.email, email=contact.email.upper())
        for contact, person in zip(contacts, people, strict=True)
        if person.user
    )
    ids = []
    for model, name in ((Tag, "tags"), (List, "lists")):
        if not model._base_manager.exists():
            for number in range(3):
                model._base_manager.create(title=f"t{number}", slug=f"t{number}")
        found = list(model._base_manager.order_by("slug").values_list("id", flat=True))
        through = getattr(Subscriber, name).through
        reference = "tag_id" if name == "tags" else "list_id"
        through.objects.bulk_create(
            through(subscriber_id=contact.id, **{reference: found[place]})
            for contact, person in zip(contacts, people, strict=True)
            for place in getattr(person, name)
        )
        ids.append(found)
    events = [
        (contact, event)
        for contact, person in zip(contacts, people, strict=True)
        for event in person.events
    ]
    rows = TrackedEvent.objects.bulk_create(
        TrackedEvent(
            subscriber=contact,
            event_key=event.key,
            title=event.title,
            value=event.value,
            provider=event.provider,
            counter=event.counter,
            unlogged=event.unlogged,
            repeatable=True,
            created_at=min(at for at, _ in event.log),
            updated_at=max(at for at, _ in event.log),
        )
        for contact, event in events
    )
    EventOccurrence.objects.bulk_create(
        EventOccurrence(
            event=row,
            subscriber=contact,
            event_key=event.key,
            provider=event.provider,
            value=event.value,
            counter=event.unlogged + place,
            properties=properties,
            occurred_at=at,
            received_at=now,
        )
        for row, (contact, event) in zip(rows, events, strict=True)
        for place, (at, properties) in enumerate(event.log, 1)
    )
    return ids[0], ids[1]


def sent(filters: list[list[Item]], tags: list[int], lists: list[int]) -> list[list[Any]]:
    """The filter on the wire: places of tags and lists become ids, an unknown place an unknown."""
    ids = {"tags": tags, "lists": lists}

    def one(condition: Item) -> dict[str, Any]:
        name = condition.sent["source"][1]
        if name not in ids:
            return condition.sent
        known = [*ids[name], 2**40]
        return {**condition.sent, "value": [known[place] for place in condition.sent["value"]]}

    return [[one(condition) for condition in group] for group in filters]


@pytest.mark.django_db
def test_a_random_filter_finds_whom_an_evaluation_in_python_finds() -> None:
    @settings(
        max_examples=EXAMPLES[settings.get_current_profile_name()],
        # Without the explanation of what fails, which takes minutes.
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
    )
    @given(st.lists(PEOPLE, min_size=1, max_size=5), st.tuples(FILTERS, FILTERS))
    def run(people: list[Person], several: tuple[list[list[Item]], ...]) -> None:
        tags, lists = store(people)
        for filters in several:
            groups = [group for group in filters if group]
            expected = [
                f"c{index}@example.com"
                for index, person in enumerate(people)
                if not groups
                or any(all(condition.fits(person) for condition in group) for group in groups)
            ]
            wire = sent(filters, tags, lists)
            found = contacts_matching(wire).order_by("id")
            assert list(found.values_list("email", flat=True)) == expected, wire
            [first] = Subscriber.objects.filter(email="c0@example.com")
            assert matches(first, wire) == (first.email in expected), wire

    run()
