"""Pages of the admin: open them, read them, fill in their forms."""

import html
import re

from django.contrib.auth.models import Permission, User
from django.test import Client

HOSTILE = "<script>alert(1)</script>"
ESCAPED = "&lt;script&gt;alert(1)&lt;/script&gt;"
CONTACTS = "/admin/crm/subscriber/"


def staff_user(*codenames: str) -> User:
    """Create the admin user "clerk" with these permissions."""
    user = User.objects.create(username="clerk", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return user


def user_without(*codenames: str) -> User:
    """Create the admin user "clerk" with all permissions but these."""
    user = User.objects.create(username="clerk", is_staff=True)
    user.user_permissions.set(Permission.objects.exclude(codename__in=codenames))
    return user


def browser_of(user: User) -> Client:
    """Return a browser in which this user is logged in."""
    client = Client()
    client.force_login(user)
    return client


def open_page(client: Client, path: str) -> str:
    """Return the HTML of a page, which has to be there."""
    response = client.get(path)
    assert response.status_code == 200, response.headers
    return response.content.decode()


def text_of(page: str) -> str:
    """Return the text between the tags, with single spaces."""
    return re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", page))


def rows_of(client: Client, path: str) -> list[str]:
    """Return the first column of a list."""
    links = re.findall(r'<th class="field-\w+"><a[^>]*>(.*?)</a>', open_page(client, path))
    return [re.sub("<[^>]*>", "", link) for link in links]


def form_of(page: str, **changed: str | list[str]) -> dict[str, list[str]]:
    """Return what a browser would send with a page's form after these fields were changed."""
    form: dict[str, list[str]] = {}
    for tag in re.findall(r"<input [^>]*>", page):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        is_box = attributes.get("type") in ("checkbox", "radio", "submit", "button")
        if "name" in attributes and (not is_box or " checked" in tag):
            value = html.unescape(attributes.get("value", ""))
            form.setdefault(attributes["name"], []).append(value)
    for name, more, options in re.findall(
        r'<select name="(\w+)"(.*?)>(.*?)</select>', page, re.DOTALL
    ):
        chosen = re.findall(r'value="([^"]*)" selected', options)
        form[name] = chosen or ([] if " multiple" in more else [""])
    for name, text in re.findall(
        r'<textarea name="(\w+)"[^>]*>\n(.*?)</textarea>', page, re.DOTALL
    ):
        form[name] = [html.unescape(text)]
    # As browsers send the ends of lines.
    form = {name: [each.replace("\n", "\r\n") for each in sent] for name, sent in form.items()}
    return form | {name: [new] if isinstance(new, str) else new for name, new in changed.items()}


def hidden_fields_of(page: str) -> dict[str, list[str]]:
    """Return the hidden fields of a page's form."""
    fields: dict[str, list[str]] = {}
    for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page):
        fields.setdefault(name, []).append(html.unescape(value))
    return fields
