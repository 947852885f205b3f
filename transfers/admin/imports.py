"""The pages of an import: upload a file, choose its columns, try, and start."""

import hashlib
from dataclasses import replace
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_POST
from typing_extensions import override

from crm.admin.jobs import JobKindAdmin, redirect_to_new
from crm.jobs import START_AUTOMATIONS, JobError, kinds_of
from crm.labels import LABEL_MODELS
from crm.models import Job, JobState
from transfers.admin.import_form import FileFormForm, ImportForm
from transfers.columns import Kind
from transfers.imports.drafts import KIND_OF, Guess, create_draft, guess_file, start_import
from transfers.imports.files import MAX_UPLOAD_BYTES, WrongOffset, append_piece, form_of
from transfers.models import Import
from transfers.tables import FileForm, UnreadableFile

KINDS: dict[str, Kind] = {name: kind for kind, name in KIND_OF.items()}
TOO_LARGE = f"The file is larger than {MAX_UPLOAD_BYTES >> 20} MB. Use manage.py import_contacts."


# Those of an import that may be started again.
ENDED = (JobState.DONE, JobState.STOPPED, JobState.FAILED)


class UploadForm(forms.Form):
    """The start of an upload."""

    kind = forms.ChoiceField(
        label="The file has",
        choices={"contacts": "contacts", "events": "events"},
        widget=forms.RadioSelect,
        initial="contacts",
    )
    name = forms.CharField(max_length=200)
    size = forms.IntegerField(min_value=1, max_value=MAX_UPLOAD_BYTES)


@admin.register(Import)
class ImportAdmin(JobKindAdmin):
    """Imports of files, and the pages that start one."""

    kinds = tuple(KINDS)

    @override
    def get_urls(self) -> list[URLPattern]:
        pages = (
            ("upload/", require_POST(self.upload_view), "upload"),
            ("columns/", self.columns_view, "columns"),
        )
        return [
            path(
                f"<int:job_id>/{suffix}",
                self.admin_site.admin_view(view),
                name=f"transfers_import_{name}",
            )
            for suffix, view, name in pages
        ] + super().get_urls()

    @override
    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the page, whose script sends the file in pieces, or begin such an upload."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            return self._begin(request)
        permitted = kinds_of(request.user.has_perms)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Import a file",
            "kinds": [kind for kind, name in KIND_OF.items() if name in permitted],
            "max_bytes": MAX_UPLOAD_BYTES,
            "too_large": TOO_LARGE,
        }
        return TemplateResponse(request, "admin/transfers/upload.html", context)

    def _begin(self, request: HttpRequest) -> HttpResponse:
        form = UploadForm(request.POST)
        if not form.is_valid():
            text = TOO_LARGE if "size" in form.errors else "Choose a file that is not empty."
            return JsonResponse({"error": text}, status=422)
        kind: Kind = form.cleaned_data["kind"]
        if KIND_OF[kind] not in kinds_of(request.user.has_perms):
            raise PermissionDenied
        assert isinstance(request.user, User)
        data = form.cleaned_data
        job = create_draft(kind, data["name"], data["size"], request.user)
        urls = ("upload", "columns")
        return JsonResponse(
            {name: reverse(f"admin:transfers_import_{name}", args=[job.pk]) for name in urls}
        )

    def upload_view(self, request: HttpRequest, job_id: int) -> HttpResponse:
        """Append a piece to the file of a draft, and return how much there is."""
        job = self._own_draft(request, job_id)
        try:
            offset = int(request.GET.get("offset", ""))
        except ValueError:
            offset = -1
        if offset < 0:
            return JsonResponse({"error": "The offset is no number."}, status=422)
        if offset + len(request.body) > job.parameters["size"]:
            return JsonResponse({"error": "The file has grown. Upload it again."}, status=422)
        try:
            size = append_piece(job, offset, request.body)
        except WrongOffset as error:
            return JsonResponse({"size": error.size}, status=409)
        except OSError as error:
            text = f"The file cannot be kept: {error.strerror}."
            return JsonResponse({"error": text}, status=507)
        return JsonResponse({"size": size})

    def columns_view(self, request: HttpRequest, job_id: int) -> HttpResponse:
        """Show the first rows and the choices, read the file in another way, or start."""
        job = self._own_draft(request, job_id, *ENDED)
        kind = KINDS[job.kind]
        kept = job.parameters
        data = request.POST or None
        try:
            form = self._file_form(request, job)
            guessed = guess_file(job, kind, form)
        except (UnreadableFile, JobError) as error:
            messages.error(request, str(error))
            # Read as guessed again, so that a wrong choice needs no new upload.
            page = f"{job.pk}/columns/" if request.method == "POST" else "add/"
            return HttpResponseRedirect(f"{reverse('admin:transfers_import_changelist')}{page}")
        file_form = FileFormForm(data, guessed.form)
        is_as_shown = kept.get("mapping", {}).keys() == {*guessed.sample.columns}
        if is_as_shown:
            guessed = guessed._replace(mapping=kept["mapping"])
        shown = _digest(guessed)
        starts = data is not None and "read" not in data
        if starts and request.POST.get("shown") != shown:
            starts = False
            messages.warning(request, "The file is read in another way now. Look at it again.")
        import_form = ImportForm(data if starts else None, kind, guessed, kept)
        if starts and import_form.is_valid():
            assert isinstance(request.user, User)
            may_create = [k for k in LABEL_MODELS if request.user.has_perm(f"crm.add_{k[:-1]}")]
            is_started = start_import(
                job,
                kind,
                guessed._replace(mapping=import_form.mapping),
                import_form.values(),
                import_form.rules(may_create),
                dry_run="dry-run" in request.POST,
                start_automations=import_form.cleaned_data[START_AUTOMATIONS],
            )
            if is_started:
                job.refresh_from_db()
                return redirect_to_new(request, job)
            messages.warning(request, "The import was started before. This is how far it is.")
            return HttpResponseRedirect(reverse("admin:crm_job_change", args=[job.pk]))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"{kept['file']}: columns",
            "job": job,
            "kind": kind,
            "file_form": file_form,
            "form": import_form,
            "shown": shown,
            "is_guess": guessed.form.is_guess,
            "errors": [row for row in guessed.sample.rows if row.error],
        }
        return TemplateResponse(request, "admin/transfers/columns.html", context)

    def _file_form(self, request: HttpRequest, job: Job) -> FileForm | None:
        """Return the form in which the file is read, or None for a guess."""
        if request.method == "POST":
            form = FileFormForm(request.POST, guess_file(job, KINDS[job.kind]).form)
            return form.chosen() if form.is_valid() else None
        return form_of(job.parameters) if "form" in job.parameters else None

    def _own_draft(self, request: HttpRequest, job_id: int, *states: JobState) -> Job:
        """Return a draft of the admin user, or an import that may be started again."""
        job = self._job(request, job_id)
        if job.created_by_id != request.user.pk or not self.has_add_permission(request):
            raise PermissionDenied
        if job.state == JobState.DONE and not job.parameters.get("dry_run"):
            raise Http404
        if job.state not in (JobState.DRAFT, *states):
            raise Http404
        return job


def _digest(guessed: Guess) -> str:
    """Return a digest of how a file is read, by which a form recognizes the columns it shows."""
    shown = repr((replace(guessed.form, is_guess=False), guessed.sample.columns))
    return hashlib.sha256(shown.encode()).hexdigest()[:16]
