"""Run Django for a request that granian has read, and return its response as granian sends it."""

import os
from contextlib import suppress
from functools import lru_cache
from io import BytesIO
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.core import signals
from django.core.cache import close_caches
from django.core.handlers.base import reset_urlconf
from django.core.handlers.exception import convert_exception_to_response
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, reset_queries
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.response import SimpleTemplateResponse
from django.urls import get_resolver, set_script_prefix
from django.utils.log import log_response
from django.utils.module_loading import import_string
from typing_extensions import override

from config.server.target import SENT_METHOD, Target
from config.server.work import is_page

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
settings.DATABASES["default"]["ENGINE"] = "config.server.request_database"


class ApiHandler(WSGIHandler):
    """Runs API views, without what Django does for views in general.

    They need no PAGE_MIDDLEWARE, no middleware for views, no transaction of the whole request, and
    no other URLs than ROOT_URLCONF's.
    """

    @override
    def load_middleware(self, is_async: bool = False) -> None:
        run: Any = convert_exception_to_response(self.run_view)
        for name in reversed(settings.MIDDLEWARE):
            if name not in settings.PAGE_MIDDLEWARE:
                run = convert_exception_to_response(import_string(name)(run))
        self._run = run
        self._resolver = get_resolver(settings.ROOT_URLCONF)

    @override
    def get_response(self, request: HttpRequest) -> HttpResponse:
        response: HttpResponse = self._run(request)
        response._resource_closers.append(request.close)  # type: ignore[attr-defined]
        if response.status_code >= 500:
            said = response.reason_phrase, request.path
            log_response("%s: %s", *said, response=response, request=request)
        return response

    def run_view(self, request: HttpRequest) -> HttpResponseBase:
        """Return the response of the view that the URL names."""
        match = request.resolver_match = self._resolver.resolve(request.path_info)
        response: HttpResponseBase = match.func(request, *match.args, **match.kwargs)
        # DRF's own responses, such as that to OPTIONS.
        if isinstance(response, SimpleTemplateResponse):
            response.render()
        return response


handler: Final = get_wsgi_application()
api_handler: Final = ApiHandler()
# They do nothing here: no queries are logged, there is no cache, and the URLs are the same for all
# requests. close_old_connections stays at the end of a request, where it closes a connection that
# had errors.
if not settings.DEBUG:
    signals.request_started.disconnect(reset_queries)
signals.request_started.disconnect(close_old_connections)
signals.request_finished.disconnect(close_caches)
signals.request_finished.disconnect(reset_urlconf)

# The key of a WSGI environ for the id of the request, or None.
REQUEST_ID = "tallybook.request_id"
# Up to this length a file is read into memory and sent like every other response.
FILE_BYTES = 256 * 1024
Environ = dict[str, Any]


class Answer(NamedTuple):
    """A response in the parts that granian sends."""

    status: int
    headers: list[tuple[str, str]]
    content: bytes = b""
    # Sent instead of the content: a path, or an open descriptor, which its receiver closes.
    file: str | int | None = None

    @property
    def size(self) -> int:
        """Return the bytes of the content or the file."""
        if self.file is None:
            return len(self.content)
        return int(dict(self.headers)["Content-Length"])


def respond(environ: Environ, body: bytes) -> Answer:
    """Run Django.

    Args:
        environ: of `environ_of`.
        body: the complete one.
    """
    environ["wsgi.input"] = BytesIO(body)
    if settings.FORCE_SCRIPT_NAME:
        set_script_prefix(settings.FORCE_SCRIPT_NAME)
    signals.request_started.send(sender=WSGIHandler, environ=environ)
    runs = handler if is_page(environ["PATH_INFO"]) else api_handler
    response = runs.get_response(WSGIRequest(environ))
    # As Django's own handlers do.
    response._handler_class = WSGIHandler  # type: ignore[attr-defined]
    headers = [*response.items()]
    headers += [("Set-Cookie", morsel.OutputString()) for morsel in response.cookies.values()]
    file = _large_file(response)
    # granian sends no content for HEAD, but it would read the whole file.
    if file is None or environ["REQUEST_METHOD"] == "HEAD":
        answer = Answer(response.status_code, headers, b"" if file else b"".join(response))
    else:
        answer = Answer(
            response.status_code, headers, file=os.dup(file) if isinstance(file, int) else file
        )
    # Before the response is sent, so that the client's next request finds what its signals did.
    response.close()
    return answer


def environ_of(scope: Any, target: Target, length: int) -> Environ:
    """Return a request as WSGI has it (PEP 3333), in values that JSON has too.

    A header with an underscore is dropped, because WSGI could not tell it from the one with a
    hyphen, which a proxy may have set.

    Args:
        scope: RSGI's, with its headers.
        target: of `target_of`.
        length: of the body, in bytes.
    """
    host, _, port = scope.server.rpartition(":")
    environ: Environ = {
        "REQUEST_METHOD": target.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": _latin1(target.path),
        "QUERY_STRING": _latin1(target.query),
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": remote_address(scope),
        "wsgi.url_scheme": scope.scheme,
    }
    headers = scope.headers
    names = set()
    for name, value in headers.items():
        names.add(name)
        if "_" in name:
            continue
        key = _header_key(name)
        if key in environ:
            value = environ[key] + ("; " if key == "HTTP_COOKIE" else ",") + value
        environ[key] = value
    if len(names) < len(headers):
        # granian leaves out values that are not ASCII. Headers of which none is left are empty and
        # not missing, so that an idempotency key is rejected and not ignored.
        for name in set(headers.keys()) - names:
            if "_" not in name:
                environ[_header_key(name)] = ""
    if "HTTP_HOST" not in environ and scope.authority:
        environ["HTTP_HOST"] = scope.authority
    environ["CONTENT_LENGTH"] = str(length)
    if target.method != scope.method:
        environ[SENT_METHOD] = scope.method
    return environ


def remote_address(scope: Any) -> str:
    """Return the address of the other end of a connection, without its port.

    Args:
        scope: RSGI's.
    """
    address: str = scope.client.rpartition(":")[0].strip("[]")
    return address


@lru_cache(maxsize=256)
def _header_key(name: str) -> str:
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def _latin1(text: str) -> str:
    """Return the UTF-8 of a text as WSGI has it."""
    return text if text.isascii() else text.encode().decode("latin-1")


def _large_file(response: HttpResponseBase) -> str | int | None:
    """Return the path or descriptor of the file that a response sends, or None for its content."""
    file = getattr(response, "file_to_stream", None)
    if file is None or int(response.get("Content-Length", "0")) < FILE_BYTES:
        return None
    # A part of a file, as whitenoise answers Range, has no descriptor.
    with suppress(AttributeError, OSError):
        descriptor: int = file.fileno()
        # A temporary file has no name, and its descriptor stands for it.
        return file.name if isinstance(file.name, str) else descriptor
    return None
