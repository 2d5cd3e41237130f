"""Which addresses the example project answers: the admin with django-rq's dashboard, probes, quickstart's mailbox."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path, reverse_lazy
from django.views.generic import RedirectView

from config.mailbox import mailbox
from emailqueue import views

urlpatterns = [
    path("", RedirectView.as_view(url=reverse_lazy("admin:index"))),
    path("admin/", admin.site.urls),
    path("alive/", views.alive),
    path("email/", include("emailqueue.urls")),
    path("health/", views.health),
    path("metrics/", views.metrics),
]
if settings.MAILBOX:
    # Before the admin, whose last address takes everything.
    urlpatterns.insert(0, path("admin/mailbox/", admin.site.admin_view(mailbox), name="mailbox"))
