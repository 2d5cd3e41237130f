"""The pages that show each e-mail type with its sample."""

from __future__ import annotations

from functools import partial

from django.conf import settings as django_settings
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _

from emailqueue.dead_letters.permissions import may
from emailqueue.dead_letters.preview import Preview, render_sample
from emailqueue.dead_letters.sandbox import sandboxed
from emailqueue.email_types import EmailType, email_types
from emailqueue.enqueue.call import valid_language
from emailqueue.errors import InvalidLanguage


def urls(site: AdminSite) -> list[URLPattern]:
    """Return the addresses of both pages."""
    return [
        path("types/", site.admin_view(partial(types_page, site=site)), name="emailqueue_types"),
        path("types/html/", site.admin_view(type_html), name="emailqueue_type_html"),
    ]


def types_page(request: HttpRequest, *, site: AdminSite) -> HttpResponse:
    """List the types; with ?type=NAME, show the mail of one, and with &language=CODE in that language."""
    _require_viewer(request)
    shown = _asked_for(request) if "type" in request.GET else None
    context = {
        **site.each_context(request),
        "title": _("E-mail types"),
        "types": list(email_types().values()),
        "shown": shown,
        "mail": _mail(shown, request) if shown else None,
        "languages": django_settings.LANGUAGES if django_settings.USE_I18N else [],
        "language": _language(request),
    }
    return TemplateResponse(request, "admin/emailqueue/deadletter/types.html", context)


def type_html(request: HttpRequest) -> HttpResponse:
    """Return the HTML of a type's mail, for a frame."""
    _require_viewer(request)
    return sandboxed(_mail(_asked_for(request), request).html)


def _require_viewer(request: HttpRequest) -> None:
    if not may(request.user, "view"):
        raise PermissionDenied


def _asked_for(request: HttpRequest) -> EmailType:
    try:
        return email_types()[request.GET["type"]]
    except LookupError:
        raise Http404(_("There is no such e-mail type.")) from None


def _language(request: HttpRequest) -> str | None:
    try:
        return valid_language(request.GET["language"]) if request.GET.get("language") else None
    except InvalidLanguage:
        raise Http404(_("There is no such language.")) from None


def _mail(email_type: EmailType, request: HttpRequest) -> Preview:
    language = _language(request)
    try:
        return render_sample(email_type, language=language)
    except Exception as error:  # noqa: BLE001 - templates raise anything
        return Preview.failed(error)
