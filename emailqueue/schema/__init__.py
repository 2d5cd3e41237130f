"""What contexts of e-mails and payloads of events can hold: one set of types for both."""

from emailqueue.schema.field_types import Address, FieldType, Link

__all__ = ["Address", "FieldType", "Link"]
