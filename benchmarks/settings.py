"""The example project, with a mailer that does nothing where BENCHMARK_MAILER says so."""

import os

import django

from config.settings import *  # noqa: F403

if os.environ.get("BENCHMARK_MAILER") == "dummy":
    dummy = "django.core.mail.backends.dummy.EmailBackend"
    if django.VERSION >= (6, 1):
        MAILERS = {"default": {"BACKEND": dummy}}
    else:
        EMAIL_BACKEND = dummy
