"""Moving in and out and mending, by the admin in a real browser."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chromium import FLAWLESS, flaws, log_in_elsewhere
from tests.system.server import Client

HEADER = "E-Mail;Vorname;Geburtstag\n"
JOB_ENDS = 60_000  # milliseconds


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A file of two contacts."""
    path = tmp_path / "contacts.csv"
    path.write_text(f"{HEADER}c1@example.com;Ada;31.12.1990\nc2@example.com;Bob;\n")
    return path


@pytest.fixture
def large_table(tmp_path: Path) -> Path:
    """A file of more than one piece of an upload, whose last row is no contact."""
    path = tmp_path / "contacts.csv"
    rows = [f"c{number}@example.com;{'x' * 190};\n" for number in range(3_000)]
    path.write_text(f"{HEADER}{''.join(rows)}nobody;No;\n")
    return path


def upload(page: Page, path: Path) -> None:
    """Upload a file, and wait for the page of its columns."""
    page.goto("/admin/transfers/import/add/")
    page.get_by_label("File", exact=True).set_input_files(path)
    page.get_by_role("button", name="Upload").click()
    page.wait_for_url("**/columns/")


def wait_for_job(page: Page) -> None:
    """Wait until the page of a job, which refreshes itself, shows its end."""
    expect(page.locator("[data-ended]")).to_be_attached(timeout=JOB_ENDS)
    page.wait_for_load_state()


def test_a_file_is_uploaded_tried_and_imported(page: Page, table: Path) -> None:
    upload(page, table)
    expect(page.get_by_label("Geburtstag")).to_have_value("date_of_birth")
    expect(page.get_by_label("Dates such as")).to_have_value("dmy")
    page.get_by_role("button", name="Try without storing").click()
    wait_for_job(page)
    expect(page.get_by_text("This is a trial: nothing is stored.")).to_be_visible()
    expect(page.get_by_role("row", name="Created 2")).to_be_visible()
    page.get_by_role("link", name="Change the choices, or start again").click()
    page.get_by_role("button", name="Import", exact=True).click()
    wait_for_job(page)
    expect(page.get_by_role("row", name="Created 2")).to_be_visible()
    page.goto("/admin/crm/subscriber/")
    expect(page.get_by_role("link", name="c1@example.com")).to_be_visible()


def test_a_large_file_is_uploaded_in_pieces_and_its_rejected_rows_downloaded(
    page: Page, large_table: Path
) -> None:
    upload(page, large_table)
    page.get_by_role("button", name="Try without storing").click()
    wait_for_job(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="rejected.csv").click()
    assert "nobody" in download.value.path().read_text(encoding="utf-8-sig")


def test_a_file_is_uploaded_after_a_login_in_another_tab(page: Page, table: Path) -> None:
    page.goto("/admin/transfers/import/add/")
    log_in_elsewhere(page)
    page.get_by_label("File", exact=True).set_input_files(table)
    page.get_by_role("button", name="Upload").click()
    page.wait_for_url("**/columns/")


def test_the_pages_of_an_import_suit_both_themes_and_a_phone(reader: Page, table: Path) -> None:
    upload(reader, table)
    assert flaws(reader) == FLAWLESS
    reader.get_by_role("button", name="Try without storing").click()
    wait_for_job(reader)
    assert flaws(reader) == FLAWLESS


def test_an_export_is_downloaded(page: Page, http: Client) -> None:
    http.contact("ada@example.com")
    page.goto("/admin/transfers/export/add/")
    page.get_by_role("checkbox", name="email", exact=True).check()
    page.get_by_role("button", name="Start").click()
    wait_for_job(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="contacts-").click()
    assert download.value.path().read_text() == "email\nada@example.com\n"


def test_a_change_of_tags_is_undone(page: Page, http: Client) -> None:
    http.contact("ada@example.com", tags=["VIP"])
    http.contact("bob@example.com")
    page.goto("/admin/crm/subscriber/")
    page.get_by_role("checkbox", name="Select all objects").check()
    page.get_by_role("combobox", name="Action").select_option("add_tags")
    page.get_by_role("button", name="Go").click()
    page.get_by_label("VIP").check()
    page.get_by_role("button", name="Add tags").click()
    page.get_by_role("link", name="Undo").click()
    page.get_by_role("button", name="Undo").click()
    wait_for_job(page)
    page.goto("/admin/crm/subscriber/?tag=&q=")
    expect(page.get_by_role("row", name="ada@example.com")).to_contain_text("VIP")
    expect(page.get_by_role("row", name="bob@example.com")).not_to_contain_text("VIP")
