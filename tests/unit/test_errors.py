"""config.api.errors: the body, status and headers of each error."""

import errno
import logging
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.db import (
    DatabaseError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
)
from django.http import Http404
from psycopg.errors import (
    DataCorrupted,
    InternalError_,
    ReadOnlySqlTransaction,
    UndefinedTable,
)
from rest_framework import exceptions

from config.api.errors import (
    ApiError,
    BadRequest,
    InvalidFields,
    InvalidJSON,
    ObjectNotFound,
    Unprocessable,
    exception_handler,
    is_unavailable,
    rest_error,
)
from config.api.responses import Response


class View:
    """The attributes that the handler reads of a view."""

    allowed_methods = ("GET", "POST")


def handle(error: Exception) -> Response:
    """Return the response for an exception of a view."""
    response = exception_handler(error, {"view": View()})
    assert response is not None
    return response


def caused_by(error: DatabaseError, cause: Exception) -> DatabaseError:
    """Return a database error as Django raises it from psycopg's."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (
            InvalidFields({"email": {"email": "No."}}),
            422,
            {"email": {"email": "No."}},
        ),
        (Unprocessable("Not enabled"), 422, {"message": "Not enabled"}),
        (ObjectNotFound("Tag"), 404, {"message": "Tag not found"}),
        (ApiError({"a": 1}, 409), 409, {"a": 1}),
        (
            BadRequest(),
            400,
            {
                "code": "rest_bad_request",
                "message": "The request could not be understood.",
                "data": {"status": 400},
            },
        ),
        (
            InvalidJSON("unexpected end of data"),
            400,
            {
                "code": "rest_invalid_json",
                "message": "Invalid JSON body passed.",
                "data": {
                    "status": 400,
                    "json_error_code": 4,
                    "json_error_message": "unexpected end of data",
                },
            },
        ),
    ],
)
def test_an_api_error_is_answered_with_its_own_body(
    error: ApiError, status: int, body: dict[str, Any]
) -> None:
    response = handle(error)
    assert (response.status_code, response.data) == (status, body)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Http404(), 404, "rest_no_route"),
        (exceptions.NotFound(), 404, "rest_no_route"),
        (DjangoPermissionDenied(), 403, "rest_forbidden"),
        (exceptions.PermissionDenied(), 403, "rest_forbidden"),
        (exceptions.NotAuthenticated(), 401, "rest_forbidden"),
        (exceptions.UnsupportedMediaType("text/plain"), 415, "rest_unsupported_media_type"),
        (exceptions.ParseError(), 400, "rest_bad_request"),
    ],
)
def test_an_error_of_django_or_drf_has_wordpress_error_body(
    error: Exception, status: int, code: str
) -> None:
    response = handle(error)
    assert response.status_code == status
    assert (response.data["code"], response.data["data"]) == (code, {"status": status})


def test_the_words_of_a_drf_error_are_not_sent() -> None:
    response = handle(exceptions.PermissionDenied("secret reason"))
    assert response.data["message"] == "Sorry, you are not allowed to do that."


def test_an_error_with_a_challenge_sends_www_authenticate() -> None:
    error = exceptions.NotAuthenticated()
    error.auth_header = 'Basic realm="x"'  # type: ignore[attr-defined]  # as DRF sets it
    assert handle(error).headers["WWW-Authenticate"] == 'Basic realm="x"'


def test_an_error_without_a_challenge_has_no_www_authenticate() -> None:
    assert not handle(exceptions.PermissionDenied()).has_header("WWW-Authenticate")


def test_a_method_that_is_not_allowed_names_the_allowed_ones() -> None:
    response = handle(exceptions.MethodNotAllowed("PATCH"))
    assert response.status_code == 405
    assert response.data["code"] == "rest_method_not_allowed"
    assert response.headers["Allow"] == "GET, POST"


def test_an_unavailable_database_is_answered_with_503_and_retry_after() -> None:
    response = handle(OperationalError("connection failed"))
    assert response.status_code == 503
    assert response.data["code"] == "service_unavailable"
    assert response.headers["Retry-After"] == "1"


def test_the_first_line_of_a_database_error_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    handle(OperationalError("\nconnection failed\nDETAIL: a row\n"))
    assert caplog.record_tuples == [
        ("config.api.errors", logging.WARNING, "503: connection failed")
    ]


@pytest.mark.parametrize("error", [ValueError("x"), ProgrammingError("x"), KeyError("x")])
def test_a_bug_is_left_to_django(error: Exception) -> None:
    assert exception_handler(error, {"view": View()}) is None


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("deadlock detected"),
        InterfaceError("connection is closed"),
        caused_by(DatabaseError("x"), ReadOnlySqlTransaction("x")),
        caused_by(InternalError("x"), InternalError_("SSL SYSCALL error: EOF detected")),
        OSError(errno.ENOSPC, "the disk of temporary files is full"),
        OSError(errno.EMFILE, "too many open files"),
    ],
)
def test_these_errors_are_worth_a_retry(error: Exception) -> None:
    assert is_unavailable(error)


@pytest.mark.parametrize(
    "error",
    [
        None,
        ValueError("x"),
        DatabaseError("x"),
        FileNotFoundError(errno.ENOENT, "x"),
        ReadOnlySqlTransaction("x"),
        caused_by(ProgrammingError("x"), UndefinedTable("x")),
        caused_by(InternalError("x"), DataCorrupted("x")),
    ],
)
def test_other_errors_are_not_worth_a_retry(error: Exception | None) -> None:
    assert not is_unavailable(error)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ObjectNotFound("Tag"), "Tag not found"),
        (InvalidFields({"a": {"max": "No."}, "b": {"in": "One."}}), "No. One."),
    ],
)
def test_an_error_as_text_is_what_a_person_reads(error: ApiError, text: str) -> None:
    assert str(error) == text


def test_a_rest_error_has_further_data_next_to_the_status() -> None:
    assert rest_error("c", "m", 400, params={"a": 1}) == {
        "code": "c",
        "message": "m",
        "data": {"status": 400, "params": {"a": 1}},
    }
