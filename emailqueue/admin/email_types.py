"""The pages that show each e-mail type with its sample."""

from functools import partial

from django.conf import settings as django_settings
from django.contrib.admin import AdminSite
from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _

from emailqueue.dead_letters.preview import Preview, render_sample
from emailqueue.dead_letters.sandbox import sandboxed
from emailqueue.email_types import EmailType, email_types, get_email_type
from emailqueue.enqueue.call import valid_language
from emailqueue.errors import InvalidLanguage, UnknownEmailType

VIEW = "emailqueue.view_deadletter"


def urls(site: AdminSite) -> list[URLPattern]:
    return [
        path("types/", site.admin_view(partial(types_page, site=site)), name="emailqueue_types"),
        path("types/html/", site.admin_view(type_html), name="emailqueue_type_html"),
    ]


@permission_required(VIEW, raise_exception=True)
def types_page(request: HttpRequest, *, site: AdminSite) -> HttpResponse:
    """List the types; with ?type=NAME, show the mail of one, and with &language=CODE in that language."""
    shown, language = _asked_for(request) if "type" in request.GET else (None, None)
    context = {
        **site.each_context(request),
        "title": _("E-mail types"),
        "types": list(email_types().values()),
        "shown": shown,
        "mail": _render(shown, language) if shown else None,
        "languages": django_settings.LANGUAGES if django_settings.USE_I18N else [],
        "language": language,
    }
    return TemplateResponse(request, "admin/emailqueue/deadletter/types.html", context)


@permission_required(VIEW, raise_exception=True)
def type_html(request: HttpRequest) -> HttpResponse:
    return sandboxed(_render(*_asked_for(request)).html)


def _asked_for(request: HttpRequest) -> tuple[EmailType, str | None]:
    language = request.GET.get("language")
    try:
        return get_email_type(request.GET.get("type", "")), valid_language(language) if language else None
    except (UnknownEmailType, InvalidLanguage) as error:
        raise Http404(str(error)) from error


def _render(email_type: EmailType, language: str | None) -> Preview:
    try:
        return render_sample(email_type, language=language)
    except Exception as error:  # noqa: BLE001 - templates raise anything
        return Preview(error=f"{type(error).__name__}: {error}")
