"""Answer URLs that name a merged contact as those of its survivor."""

from typing import Any

from typing_extensions import override

from config.api.errors import ApiError
from config.api.validation import clamp_id
from config.api.viewsets import ApiViewSet
from crm.aliases import find_holder


class MergedContactMixin(ApiViewSet):
    """Repeat a request that is 404 for the contact that the URL's `contact_id` was merged into.

    A request that is 404 has changed nothing. So contacts that exist cost no statement more.
    """

    @override
    def handle_exception(self, exc: Exception) -> Any:
        is_missing = isinstance(exc, ApiError) and exc.status_code == 404
        if not is_missing or "contact_id" not in self.kwargs:
            return super().handle_exception(exc)
        holder = find_holder(("contact", str(clamp_id(self.kwargs["contact_id"]))))
        if holder is None:
            return super().handle_exception(exc)
        self.kwargs["contact_id"] = str(holder)
        handler = getattr(self, str(self.request.method).lower())
        try:
            return handler(self.request, *self.args, **self.kwargs)
        except Exception as error:
            return super().handle_exception(error)
