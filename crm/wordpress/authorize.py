"""The page on which an admin user gives a program an application password, as WordPress has it."""

import re
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlencode, urlsplit, urlunsplit

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminTextInputWidget
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.text import capfirst

from config.audit import record
from config.environment import ORIGIN
from crm.models import ApplicationPassword, Scope
from crm.passwords import create_application_password
from crm.wordpress.views import site_url

NAME_LENGTH = 192
MAX_URL_LENGTH = 2000
# Printable ASCII. Browsers read a backslash as a slash, and Python does not.
URL_CHARACTERS = re.compile(r"[!-\[\]-~]+")
PURPOSES = {"success_url": "after you approve", "reject_url": "after you decline"}


class InvalidURL(Exception):
    """A URL to which no one is led. Its text is a sentence about it."""


class AuthorizationForm(forms.Form):
    """What an admin user chooses for the program that asks."""

    name = forms.CharField(
        max_length=NAME_LENGTH, label="Name of the password", widget=AdminTextInputWidget
    )
    scope = forms.ChoiceField(
        choices=[(value, capfirst(label)) for value, label in Scope.choices],
        widget=forms.RadioSelect({"class": "radiolist"}),
        label="The application may",
    )


def return_url(query: Any, name: str) -> SplitResult | None:
    """Return one of the URLs to which a browser is led back, or None without one.

    WordPress accepts the schemes of apps too (wp_is_authorize_application_redirect_url_valid in
    wp-admin/includes/user.php). Any app of a device may claim these.

    Raises:
        InvalidURL: it is neither https nor of the admin user's machine, or has a user name.
    """
    text = query.get(name, "")
    if not text:
        return None
    try:
        url = urlsplit(text if URL_CHARACTERS.fullmatch(text) else "")
        is_site = ORIGIN.fullmatch(f"{url.scheme}://{url.netloc}")
    except ValueError:
        is_site = None
    if is_site is None or len(text) > MAX_URL_LENGTH:
        raise InvalidURL(f"The URL {PURPOSES[name]} ({name}) is no URL of a site.")
    if url.scheme == "https" or (url.scheme == "http" and _is_loopback(str(url.hostname))):
        return url
    raise InvalidURL(f"The URL {PURPOSES[name]} ({name}) has to begin with https://.")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def with_parameters(url: SplitResult, **parameters: str) -> str:
    """Return a URL with further parameters in its query."""
    query = "&".join(filter(None, (url.query, urlencode(parameters))))
    return urlunsplit(url._replace(query=query))


def approve(request: HttpRequest, name: str, scope: str, host: str | None) -> str:
    """Create the application password of a program. Returns its secret.

    Args:
        request: of the admin user.
        name: of the password.
        scope: track, read or manage.
        host: to which the browser takes the secret, None if the admin user copies it.
    """
    assert isinstance(request.user, User)  # admin_view led others to the login
    with transaction.atomic():
        password, secret = create_application_password(request.user, name, scope)
        model_admin = admin.site.get_model_admin(ApplicationPassword)
        model_admin.log_addition(request, password, [{"added": {}}])
        fields = {"user": str(password.user), "scope": scope, "credential": password.prefix}
        record(
            request, "added", what="application password", id=password.pk, **fields, given_to=host
        )
    return secret


def show(request: HttpRequest, status: int = 200, **context: Any) -> HttpResponse:
    """Return the page with what it says."""
    site = admin.site.each_context(request)
    title = {"title": "Authorize an application", "is_nav_sidebar_enabled": False}
    return render(request, "tallybook/authorize.html", {**site, **title, **context}, status=status)


@admin.site.admin_view
def authorize_application(request: HttpRequest) -> HttpResponse:
    """Ask an admin user whether a program gets an application password, and lead back.

    See wp-admin/authorize-application.php: `site_url`, `user_login` and `password` are added to
    success_url. Without reject_url, `success=false` is. `app_id` is ignored.
    """
    try:
        success, reject = (return_url(request.GET, name) for name in PURPOSES)
    except InvalidURL as error:
        return show(request, 400, error=str(error))
    if not request.user.has_perm("crm.add_applicationpassword"):
        return show(request, 403, error="Your user may not create application passwords.")
    if "reject" in request.POST:
        return leave(_rejected(success, reject))
    asking = request.GET.get("app_name", "")[:NAME_LENGTH]
    form = AuthorizationForm(request.POST or None, initial={"name": asking})
    if form.is_valid():
        host = success.netloc if success else None
        secret = approve(request, form.cleaned_data["name"], form.cleaned_data["scope"], host)
        if success is None:
            return without_referrer(show(request, secret=secret, name=form.cleaned_data["name"]))
        return leave(
            with_parameters(
                success,
                site_url=site_url(request),
                user_login=request.user.get_username(),
                password=secret.replace(" ", ""),
            )
        )
    return show(request, form=form, asking=asking, success=success, reject=reject or success)


def _rejected(success: SplitResult | None, reject: SplitResult | None) -> str:
    if reject is not None:
        return urlunsplit(reject)
    return with_parameters(success, success="false") if success else reverse("admin:index")


def leave(url: str) -> HttpResponse:
    """Return a redirect to another site."""
    return without_referrer(HttpResponseRedirect(url))


def without_referrer(response: HttpResponse) -> HttpResponse:
    """Return a response whose URL the browser tells no other site.

    The form's own response keeps Django's same-origin. With no-referrer, browsers would send the
    form with the Origin null, which has no valid CSRF token.
    """
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
