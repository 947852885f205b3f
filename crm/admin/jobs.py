"""Admin pages of jobs: the list, how far each is, its files, and buttons to stop and go on."""

import os
from pathlib import Path
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import ADDITION
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_POST
from typing_extensions import override

from config.audit import of_ids, record
from config.downloads import Download
from crm import bulk_changes, jobs
from crm.admin.base import ReadOnlyAdmin
from crm.admin.history import log_entry
from crm.jobs import KEEP_FILES
from crm.models import Job, JobState

OPEN = (JobState.WAITING, JobState.RUNNING)
MAY_GO_ON = (JobState.STOPPED, JobState.FAILED)


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    """Imports, exports and other jobs, of those kinds that the admin user may start."""

    list_display = ("title", "state", "progress", "created_by", "created_at")
    search_fields = ("title",)
    search_help_text = "What the job does"
    sortable_by = ()
    ordering = ("-id",)

    @override
    def has_view_permission(self, request: HttpRequest, obj: Job | None = None) -> bool:
        return request.user.has_perm("crm.view_job")

    @override
    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        rows: QuerySet[Job] = super().get_queryset(request)
        # Who may see no jobs is refused when the row is found.
        if request.user.is_superuser or not self.has_view_permission(request):
            return rows
        return rows.filter(kind__in=jobs.kinds_of(request.user.has_perms))

    @override
    def get_urls(self) -> list[URLPattern]:
        pages = (
            ("progress/", self.progress_view, "progress"),
            ("stop/", require_POST(self.stop_view), "stop"),
            ("go-on/", require_POST(self.go_on_view), "go_on"),
            ("undo/", require_POST(self.undo_view), "undo"),
            ("files/<str:name>", self.file_view, "file"),
        )
        return [
            path(f"<int:job_id>/{suffix}", self.admin_site.admin_view(view), name=f"crm_job_{name}")
            for suffix, view, name in pages
        ] + super().get_urls()

    @override
    def page_rows(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.select_related("created_by")

    @admin.display(description="progress")
    def progress(self, job: Job) -> str:
        """Return how many items are done."""
        if job.total:
            return f"{job.done:,} of {job.total:,}"
        return f"{job.done:,}" if job.done else "-"

    @override
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the job, its numbers and its files."""
        job = self._job(request, object_id)
        page = jobs.page_of(job)
        is_own = job.created_by_id == request.user.pk
        context = {
            **self.admin_site.each_context(request),
            **_progress(job),
            "opts": self.opts,
            "title": job.title,
            "may_stop": job.state in OPEN and not job.stop_requested,
            "may_go_on": job.state in MAY_GO_ON,
            "may_undo": job.kind == bulk_changes.KIND
            and job.state not in OPEN
            and "undone_by" not in job.parameters,
            "undone_by": job.parameters.get("undone_by"),
            "start_url": reverse(page, args=[job.pk]) if page and is_own else "",
            "files": _files(job),
            "keep_days": KEEP_FILES.days,
        }
        return TemplateResponse(request, "admin/crm/job/page.html", context)

    def progress_view(self, request: HttpRequest, job_id: int) -> HttpResponse:
        """Return the part of the page that is refreshed while the job runs."""
        return render(request, "admin/crm/job/progress.html", _progress(self._job(request, job_id)))

    def stop_view(self, request: HttpRequest, job_id: int) -> HttpResponse:
        """Stop the job after its step."""
        job = self._job(request, job_id)
        jobs.request_stop(job.pk)
        record(request, "stopped", what=job.kind, **of_ids([job.pk]))
        return self._redirect(job)

    def go_on_view(self, request: HttpRequest, job_id: int) -> HttpResponse:
        """Let the job go on after its last step."""
        job = self._job(request, job_id)
        if jobs.resume(job.pk):
            record(request, "resumed", what=job.kind, **of_ids([job.pk]))
        else:
            messages.warning(request, "The job cannot go on: it has not stopped.")
        return self._redirect(job)

    def undo_view(self, request: HttpRequest, job_id: int) -> HttpResponse:
        """Undo a change of several contacts."""
        job = self._job(request, job_id)
        assert isinstance(request.user, User)
        if not request.user.has_perms(bulk_changes.PERMISSIONS):
            raise PermissionDenied
        try:
            undo = bulk_changes.undo_change(job, request.user)
        except bulk_changes.AlreadyUndone:
            messages.warning(request, "There is nothing to undo.")
            return self._redirect(job)
        return redirect_to_new(request, undo)

    def file_view(self, request: HttpRequest, job_id: int, name: str) -> HttpResponseBase:
        """Send a file of the job."""
        job = self._job(request, job_id)
        if name not in [file.name for file in _files(job)]:
            raise Http404
        try:
            file = (job.path / jobs.RESULTS / name).open("rb")
        except FileNotFoundError:
            # Deleted meanwhile.
            raise Http404 from None
        record(request, "exported", what=f"file of {job.kind}", **of_ids([job.pk]))
        return Download(file, as_attachment=True, filename=name)

    def _job(self, request: HttpRequest, job_id: int | str) -> Job:
        if not self.has_view_permission(request):
            raise PermissionDenied
        job: Job | None = self.get_object(request, str(job_id))
        if job is None:
            raise Http404
        return job

    def _redirect(self, job: Job) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:crm_job_change", args=[job.pk]))


class JobKindAdmin(JobAdmin):
    """The jobs of some kinds, under a name of their own, with a page to create one."""

    kinds: tuple[str, ...] = ()

    @override
    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    @override
    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        return super().get_queryset(request).filter(kind__in=self.kinds)

    @override
    def get_urls(self) -> list[URLPattern]:
        # Those of a job are JobAdmin's.
        return admin.ModelAdmin.get_urls(self)

    @override
    def has_view_permission(self, request: HttpRequest, obj: Job | None = None) -> bool:
        permitted = jobs.kinds_of(request.user.has_perms)
        return any(kind in permitted for kind in self.kinds)

    @override
    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)


def redirect_to_new(request: HttpRequest, job: Job) -> HttpResponse:
    """Add a new job to the history and the audit log, and redirect to its page."""
    log_entry(request, str(job.pk), job.title, ADDITION, "Started.", model=Job)
    record(request, "started", what=job.kind, **of_ids([job.pk]))
    return HttpResponseRedirect(reverse("admin:crm_job_change", args=[job.pk]))


def _progress(job: Job) -> dict[str, Any]:
    return {
        "job": job,
        "has_ended": job.state not in OPEN,
        "counts": [(name.replace("_", " "), number) for name, number in job.counts.items()],
    }


def _files(job: Job) -> list[os.DirEntry[str]]:
    """Return the results of a job, by name, without a draft of `whole_file`."""
    folder: Path = job.path / jobs.RESULTS
    try:
        with os.scandir(folder) as entries:
            whole = (each for each in entries if each.is_file() and each.name[0] != ".")
            return sorted(whole, key=lambda each: each.name)
    except FileNotFoundError:
        return []
