"""The admin's pages of an import: upload in pieces, choose columns, try, import."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from crm.contacts import create
from crm.models import Job, JobState, Subscriber, Tag
from tests.api.jobs import run_next
from tests.api.pages import browser_of, open_page, staff_user, text_of
from transfers.admin import imports
from transfers.imports.drafts import guess_file, start_import

pytestmark = pytest.mark.django_db
TABLE = b"E-Mail;Vorname;Geburtstag\nada@example.com;Ada;31.12.1990\nbob@example.com;Bob;\n"
ADD = "/admin/transfers/import/add/"
CHOICES = {
    "encoding": "utf-8",
    "delimiter": ";",
    "has_header": "on",
    "column_0": "email",
    "column_1": "first_name",
    "column_2": "date_of_birth",
    "status": "subscribed",
    "existing": "fill",
    "separator": ",",
    "date_order": "dmy",
    "decimal_mark": ".",
}


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> None:
    """Keep the files of jobs in a folder of the test."""
    settings.FILES_DIR = tmp_path / "files"


@pytest.fixture
def browser(admin: User) -> Client:
    """A browser of the superuser."""
    return browser_of(admin)


def begin(browser: Client, body: bytes = TABLE, kind: str = "contacts") -> dict[str, str]:
    """Begin an upload. Returns the URLs of its pieces and of its columns."""
    response = browser.post(ADD, {"kind": kind, "name": "people.csv", "size": len(body)})
    assert response.status_code == 200
    urls: dict[str, str] = response.json()
    return urls


def send(browser: Client, url: str, body: bytes, offset: object = 0) -> tuple[int, Any]:
    """Send a piece of a file. Returns the status and the JSON of the response."""
    content_type = "application/octet-stream"
    response = browser.post(f"{url}?offset={offset}", body, content_type=content_type)
    return response.status_code, response.json()


def upload(browser: Client, body: bytes = TABLE) -> str:
    """Upload a file. Returns the URL of the page of its columns."""
    urls = begin(browser, body)
    assert send(browser, urls["upload"], body) == (200, {"size": len(body)})
    return urls["columns"]


def shown(browser: Client, url: str) -> dict[str, str]:
    """Return what the page carries along, by which it recognizes the columns it shows."""
    found = re.search(r'name="shown" value="(\w+)"', open_page(browser, url))
    assert found
    return {"shown": found[1]}


def test_a_file_is_uploaded_in_pieces(browser: Client) -> None:
    urls = begin(browser)
    assert send(browser, urls["upload"], TABLE[:10]) == (200, {"size": 10})
    # Sent again, because its response was lost.
    assert send(browser, urls["upload"], TABLE[:10]) == (200, {"size": 10})
    assert send(browser, urls["upload"], TABLE[10:], offset=10) == (200, {"size": len(TABLE)})
    assert (Job.objects.get().path / "upload").read_bytes() == TABLE


def test_a_piece_that_leaves_a_gap_is_rejected_with_the_size(browser: Client) -> None:
    urls = begin(browser)
    assert send(browser, urls["upload"], b"x", offset=5) == (409, {"size": 0})


def test_a_piece_that_comes_again_late_cuts_nothing_off(browser: Client) -> None:
    urls = begin(browser)
    send(browser, urls["upload"], TABLE[:10])
    send(browser, urls["upload"], TABLE[10:], offset=10)
    assert send(browser, urls["upload"], TABLE[:10]) == (200, {"size": len(TABLE)})
    assert (Job.objects.get().path / "upload").read_bytes() == TABLE


def test_a_file_that_is_not_whole_is_not_read(browser: Client) -> None:
    urls = begin(browser)
    send(browser, urls["upload"], TABLE[:-10])
    page = browser.get(urls["columns"], follow=True).content.decode()
    assert "The upload has not ended" in page


def test_a_file_that_never_came_is_reported(browser: Client) -> None:
    page = browser.get(begin(browser)["columns"], follow=True).content.decode()
    assert "The file is not here" in page


def test_an_import_that_is_started_twice_at_once_runs_once(admin: User, browser: Client) -> None:
    url = upload(browser)
    read = Job.objects.get()
    browser.post(url, {**CHOICES, **shown(browser, url), "import": "Import"})
    run_next()
    form = guess_file(read, "contacts")
    assert not start_import(read, "contacts", form, {"status": "pending"}, {}, dry_run=False)
    assert Job.objects.get().state == JobState.DONE


@pytest.mark.parametrize("offset", ["", "-1", "x", "1e9", "9" * 5000])
def test_an_offset_that_is_no_number_is_rejected(browser: Client, offset: str) -> None:
    status, _ = send(browser, begin(browser)["upload"], b"x", offset)
    assert status == 422


def test_a_file_that_is_too_large_is_rejected(browser: Client) -> None:
    form = {"kind": "contacts", "name": "people.csv", "size": 100 * 1024 * 1024 + 1}
    response = browser.post(ADD, form)
    assert (response.status_code, response.json()) == (422, {"error": imports.TOO_LARGE})


def test_a_piece_behind_the_end_of_the_file_is_rejected(browser: Client) -> None:
    status, _ = send(browser, begin(browser)["upload"], TABLE + b"x")
    assert status == 422
    assert not (Job.objects.get().path / "upload").exists()


def test_another_admin_user_reaches_neither_upload_nor_columns(browser: Client) -> None:
    urls = begin(browser)
    other = browser_of(
        staff_user("view_job", "view_subscriber", "add_subscriber", "change_subscriber")
    )
    assert other.post(f"{urls['upload']}?offset=0").status_code == 403
    assert other.get(urls["columns"]).status_code == 403


def test_the_page_shows_guessed_columns_and_first_values(browser: Client) -> None:
    page = open_page(browser, upload(browser))
    assert '<option value="date_of_birth" selected>' in page
    assert '<option value="dmy" selected>' in page
    assert "ada@example.com" in text_of(page)
    assert Job.objects.get().state == JobState.DRAFT


def test_a_file_that_is_no_table_is_reported(browser: Client) -> None:
    page = browser.get(upload(browser, b"%PDF-1.7"), follow=True).content.decode()
    assert "The file is a PDF" in text_of(page)


def test_the_file_is_read_in_another_way(browser: Client) -> None:
    url = upload(browser, "E-Mail,Name\na@example.com,J\xf6rg\n".encode("cp1252"))
    assert "The encoding is a guess" in text_of(open_page(browser, url))
    form = {"encoding": "iso-8859-7", "delimiter": ",", "has_header": "on", "read": "yes"}
    page = browser.post(url, form).content.decode()
    assert "Jφrg" in page
    assert "The encoding is a guess" not in text_of(page)


def test_a_trial_stores_nothing_and_is_followed_by_the_import(browser: Client) -> None:
    url = upload(browser)
    choices = CHOICES | shown(browser, url)
    response = browser.post(url, choices | {"dry-run": "yes"})
    job = Job.objects.get()
    assert response.headers["Location"] == f"/admin/crm/job/{job.pk}/change/"
    assert run_next().counts == {"created": 2}
    page = open_page(browser, f"/admin/crm/job/{job.pk}/change/")
    assert "This is a trial: nothing is stored." in text_of(page)
    assert url in page
    assert not Subscriber.objects.exists()
    browser.post(url, choices | shown(browser, url) | {"import": "yes"})
    assert run_next().counts == {"created": 2}
    ada = Subscriber.objects.get(email="ada@example.com")
    assert (str(ada.date_of_birth), ada.status) == ("1990-12-31", "subscribed")


def test_files_of_a_trial_are_gone_after_the_import(browser: Client) -> None:
    url = upload(browser)
    choices = {**CHOICES, **shown(browser, url)}
    browser.post(url, {**choices, "date_order": "mdy", "dry-run": "Try"})
    job = run_next()
    assert [file.name for file in (job.path / "results").iterdir()] == ["rejected.csv"]
    browser.post(url, {**choices, "import": "Import"})
    assert run_next().counts == {"created": 2}
    assert not (job.path / "results").exists()


def test_a_wrong_encoding_needs_no_new_upload(browser: Client) -> None:
    url = upload(browser)
    form = {**CHOICES, "encoding": "klingon", "read": "Read"}
    page = text_of(browser.post(url, form, follow=True).content.decode())
    assert ("no encoding" in page, "Vorname" in page) == (True, True)


def test_an_import_that_is_done_is_not_started_again(browser: Client) -> None:
    url = upload(browser)
    browser.post(url, CHOICES | shown(browser, url) | {"import": "yes"})
    run_next()
    assert browser.get(url).status_code == 404
    page = open_page(browser, f"/admin/crm/job/{Job.objects.get().pk}/change/")
    assert url not in page


def test_an_import_stands_in_the_history(browser: Client, admin: User) -> None:
    url = upload(browser)
    browser.post(url, CHOICES | shown(browser, url) | {"import": "yes"})
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_repr) == (admin, "Import contacts from people.csv")


def test_choices_for_other_columns_than_shown_start_nothing(browser: Client) -> None:
    url = upload(browser)
    choices = CHOICES | shown(browser, url) | {"delimiter": ",", "import": "yes"}
    page = browser.post(url, choices).content.decode()
    assert "The file is read in another way now." in text_of(page)
    assert Job.objects.get().state == JobState.DRAFT


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"column_1": "email"}, "are both email"),
        ({"column_0": "ignore"}, "A column has to be email or user_id."),
        ({"source": "my shop"}, "The name of a source has letters from a to z"),
        ({"column_1": "nothing"}, "is not one of the available choices"),
        ({"zone": "Moon"}, "There is no time zone Moon."),
    ],
)
def test_invalid_choices_start_nothing(
    browser: Client, changed: dict[str, str], message: str
) -> None:
    url = upload(browser)
    choices = CHOICES | shown(browser, url) | changed | {"import": "yes"}
    assert message in text_of(browser.post(url, choices).content.decode())
    assert Job.objects.get().state == JobState.DRAFT


def test_who_may_not_create_tags_creates_none() -> None:
    create({"email": "ada@example.com"})
    user = staff_user("view_job", "view_subscriber", "add_subscriber", "change_subscriber")
    browser = browser_of(user)
    url = upload(browser)
    choices = CHOICES | shown(browser, url) | {"tags": "VIP", "create_labels": "on"}
    browser.post(url, choices | {"import": "yes"})
    assert run_next().counts == {"rejected": 2}
    assert not Tag.objects.exists()
