"""Addresses that a project includes: path("email/", include("emailqueue.urls"))."""

from django.urls import re_path

from emailqueue.subscriptions.views import unsubscribe

app_name = "emailqueue"
urlpatterns = [
    # With or without a slash, so that APPEND_SLASH never redirects: RFC 8058 has mail programs follow none.
    re_path(r"^unsubscribe/(?P<token>[\w.-]{1,200})/?$", unsubscribe, name="unsubscribe"),
]
