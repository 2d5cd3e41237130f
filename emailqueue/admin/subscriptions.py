"""The suppression list in the admin: which addresses get no mails of subscribed types, and why."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from emailqueue.admin.base import AT_ONCE, QueueAdmin
from emailqueue.email_types import email_types
from emailqueue.errors import InvalidAddress
from emailqueue.models import Subscription
from emailqueue.models.subscription import ALL_TYPES, address_key
from emailqueue.schema.address import valid_address


def _subscribed_types() -> list[tuple[str, Any]]:
    names = [name for name, email_type in email_types().items() if email_type.subscribed]
    return [(ALL_TYPES, _("all subscribed types")), *((name, name) for name in names)]


class BlockForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    email_type = forms.ChoiceField(label=_("E-mail type"), required=False, choices=_subscribed_types)

    class Meta:
        model = Subscription
        fields = ("address", "email_type", "detail")

    def clean_address(self) -> str:
        try:
            return address_key(valid_address(self.cleaned_data["address"]))
        except InvalidAddress as error:
            raise ValidationError(str(error)) from error

    def clean(self) -> dict[str, Any]:
        """Block the row that the address already has."""
        cleaned = super().clean() or self.cleaned_data
        same = {name: cleaned.get(name) for name in ("address", "email_type")}
        self.instance = Subscription.objects.written().filter(**same).first() or self.instance
        return cleaned


@admin.register(Subscription)
class SubscriptionAdmin(QueueAdmin):
    """Staff block an address, or take a suppression back; nothing is edited."""

    actions = ["allow", "block"]
    form = BlockForm
    list_display = ["address", "kind", "state", "detail", "changed_at", "skipped", "skipped_at"]
    list_filter = ["state"]
    ordering = ["-changed_at"]
    readonly_fields = ["state", "changed_at", "skipped", "skipped_at"]
    search_fields = ["address__startswith"]
    search_help_text = _("Beginning of an address")

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().add_view(request, form_url, {"title": _("Block an address"), **(extra_context or {})})

    def get_readonly_fields(self, request: HttpRequest, obj: Subscription | None = None) -> Any:
        return self.readonly_fields if obj else ()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Subscription], search_term: str
    ) -> tuple[QuerySet[Subscription], bool]:
        """Search as addresses are stored, since databases differ in whether "A" finds "a"."""
        term = address_key(search_term) if "@" in search_term else search_term.lower()
        return super().get_search_results(request, queryset, term)

    @admin.display(description=_("e-mail type"), ordering="email_type")
    def kind(self, subscription: Subscription) -> str:
        return subscription.email_type or str(_("all subscribed types"))

    def save_model(self, request: HttpRequest, obj: Subscription, form: Any, change: Any) -> None:
        """Block the address, in its own row if it has one."""
        Subscription.objects.suppress(
            obj.address, Subscription.State.BLOCKED, email_type=obj.email_type, detail=obj.detail
        )
        obj.pk = Subscription.objects.written().get(address=obj.address, email_type=obj.email_type).pk

    @admin.action(permissions=["change"], description=_("Send mails to the selected addresses again"))
    def allow(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> None:
        self._change(request, queryset, Subscription.State.ACTIVE)

    @admin.action(permissions=["change"], description=_("Send no more mails to the selected addresses"))
    def block(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> None:
        self._change(request, queryset, Subscription.State.BLOCKED)

    def _change(self, request: HttpRequest, queryset: QuerySet[Subscription], state: Subscription.State) -> None:
        changed = 0
        for subscription in queryset[:AT_ONCE]:
            if subscription.become(state):
                self.log_change(request, subscription, str(state.label))
                changed += 1
        text = ngettext("%(count)d subscription was changed.", "%(count)d subscriptions were changed.", changed)
        messages.success(request, text % {"count": changed})

    def has_change_permission(self, request: HttpRequest, obj: Subscription | None = None) -> bool:
        """Only the actions change anything."""
        return obj is None and super().has_change_permission(request, obj)
