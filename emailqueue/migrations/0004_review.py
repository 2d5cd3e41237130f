from typing import Any

import django.utils.timezone
from django.db import migrations, models

from emailqueue.derived import domain_of, text_key

KEYS = ("recipient_key", "recipient_domain", "error_key")
BATCH = 500


def fill_keys(apps: Any, schema_editor: Any) -> None:
    """Compute the new columns of the letters that are there, a bounded number at a time."""
    DeadLetter = apps.get_model("emailqueue", "DeadLetter")
    letters = DeadLetter.objects.using(schema_editor.connection.alias).order_by("pk").only("pk", "recipient", "message")
    last = ""
    while batch := list(letters.filter(pk__gt=last)[:BATCH]):
        for letter in batch:
            letter.recipient_key = letter.recipient.lower()[:320]
            letter.recipient_domain = domain_of(letter.recipient)[:255]
            letter.error_key = text_key(letter.message)
        DeadLetter.objects.using(schema_editor.connection.alias).bulk_update(batch, KEYS)
        last = batch[-1].pk


class Migration(migrations.Migration):
    dependencies = [
        ("emailqueue", "0003_verdict"),
    ]

    operations = [
        migrations.CreateModel(
            name="BulkAction",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "verb",
                    models.CharField(
                        choices=[("retry", "retry"), ("discard", "discard")], max_length=20, verbose_name="verb"
                    ),
                ),
                ("selection", models.JSONField(default=dict, verbose_name="filter")),
                ("reason", models.TextField(blank=True, verbose_name="reason of the discard")),
                ("stale_too", models.BooleanField(default=False, verbose_name="also those that are out of date")),
                ("user_pk", models.CharField(blank=True, max_length=100, verbose_name="user id")),
                ("user_name", models.CharField(blank=True, max_length=200, verbose_name="by")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "waits for a worker"),
                            ("running", "running"),
                            ("stopped", "stopped"),
                            ("done", "done"),
                            ("failed", "failed"),
                        ],
                        default="waiting",
                        max_length=20,
                        verbose_name="state",
                    ),
                ),
                ("cursor", models.CharField(blank=True, max_length=64, verbose_name="last letter looked at")),
                (
                    "table_size",
                    models.BigIntegerField(default=0, verbose_name="letters in the table at the start, about"),
                ),
                ("scanned", models.BigIntegerField(default=0, verbose_name="letters looked at")),
                ("done", models.BigIntegerField(default=0, verbose_name="letters changed")),
                ("refused", models.BigIntegerField(default=0, verbose_name="letters left as they are")),
                ("last_error", models.TextField(blank=True, verbose_name="last error")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, verbose_name="started at")),
                ("next_step_at", models.DateTimeField(default=django.utils.timezone.now, verbose_name="next step at")),
                ("finished_at", models.DateTimeField(null=True, verbose_name="ended at")),
            ],
            options={
                "verbose_name": "bulk action",
                "verbose_name_plural": "bulk actions",
                "default_permissions": (),
            },
        ),
        migrations.AlterModelOptions(
            name="deadletter",
            options={
                "default_permissions": ("view",),
                "permissions": (
                    ("retry_deadletter", "Can retry dead letters"),
                    ("discard_deadletter", "Can discard dead letters"),
                    ("view_body_deadletter", "Can view the content of dead letters"),
                    ("export_deadletter", "Can export dead letters"),
                ),
                "verbose_name": "dead letter",
                "verbose_name_plural": "dead letters",
            },
        ),
        migrations.AddField(
            model_name="deadletter",
            name="error_key",
            field=models.CharField(blank=True, default="", editable=False, max_length=100),
        ),
        migrations.AddField(
            model_name="deadletter",
            name="recipient_domain",
            field=models.CharField(blank=True, default="", editable=False, max_length=255, verbose_name="domain"),
        ),
        migrations.AddField(
            model_name="deadletter",
            name="recipient_key",
            field=models.CharField(blank=True, default="", editable=False, max_length=320),
        ),
        migrations.AddField(
            model_name="deadletter",
            name="rendered",
            field=models.JSONField(null=True, verbose_name="rendering at death"),
        ),
        migrations.RunPython(fill_keys, migrations.RunPython.noop),
        migrations.AlterField(
            model_name="deadletter",
            name="verdict",
            field=models.CharField(
                blank=True,
                choices=[
                    ("retry", "tried again after the backoff"),
                    ("hold all", "all mails wait, none is charged a try"),
                    ("slow domain", "mails to the recipient's domain wait, none is charged a try"),
                    ("dead letter", "given up at once"),
                    ("bad address", "given up at once: the address is bad"),
                    ("maybe sent", "it may have been delivered"),
                ],
                max_length=20,
                verbose_name="verdict",
            ),
        ),
        migrations.AddIndex(
            model_name="deadletter",
            index=models.Index(fields=["verdict", "-died_at"], name="emailqueue_verdict_died"),
        ),
        migrations.AddIndex(
            model_name="deadletter",
            index=models.Index(fields=["reason", "-died_at"], name="emailqueue_reason_died"),
        ),
        migrations.AddIndex(
            model_name="deadletter",
            index=models.Index(fields=["email_type", "-died_at"], name="emailqueue_type_died"),
        ),
        migrations.AddIndex(
            model_name="deadletter",
            index=models.Index(fields=["smtp_code", "-died_at"], name="emailqueue_code_died"),
        ),
        migrations.AddIndex(
            model_name="deadletter",
            index=models.Index(fields=["recipient_domain", "-died_at"], name="emailqueue_domain_died"),
        ),
        migrations.AddIndex(
            model_name="deadletter",
            index=models.Index(
                fields=["recipient_key", "-died_at"],
                name="emailqueue_recipient_died",
                opclasses=["varchar_pattern_ops", "timestamptz_ops"],
            ),
        ),
        migrations.AddIndex(
            model_name="deadletter",
            index=models.Index(fields=["error_key"], name="emailqueue_error", opclasses=["varchar_pattern_ops"]),
        ),
        migrations.AddIndex(
            model_name="deadletter",
            index=models.Index(fields=["closed_at"], name="emailqueue_closed"),
        ),
        migrations.AddIndex(
            model_name="bulkaction",
            index=models.Index(fields=["state", "next_step_at"], name="emailqueue_bulk_state"),
        ),
    ]
