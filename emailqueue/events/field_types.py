"""What types the fields of a payload may have."""

from __future__ import annotations

import builtins
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

from emailqueue.enqueue.call import valid_address
from emailqueue.errors import InvalidAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldType:
    """What a value must be. Annotated[str, FieldType(...)] makes one of your own."""

    words: str
    """For error messages: "an e-mail address"."""

    fits: Callable[[Any], bool]
    item: FieldType | None = None
    """Of a list or mapping: what each of its values must be."""

    def misfit(self, value: Any) -> tuple[object, str] | None:
        """Return the first part of `value` that does not fit, and what it must be; None when all fits."""
        if not self.fits(value):
            return value, self.words
        if self.item:
            for part in value.values() if isinstance(value, Mapping) else value:
                if wrong := self.item.misfit(part):
                    return wrong
        return None


def field_type(annotation: Any) -> FieldType:
    """
    Return the type that an annotation stands for.

    Raises ValueError for one that JSON has no match for; it says the rest of a sentence that begins with the field.
    """
    within = get_args(annotation)
    match get_origin(annotation):
        case None if annotation in _plain:
            return _plain[annotation]
        case typing.Annotated if isinstance(within[1], FieldType):
            return within[1]
        case typing.Union | types.UnionType:
            return _one_of([field_type(option) for option in within])
        case builtins.list:
            item = field_type(within[0])
            return FieldType(words=f"a list, each item {item.words}", fits=_is_list, item=item)
        case builtins.dict if within[0] is str:
            item = field_type(within[1])
            return FieldType(words=f"a mapping of text to {item.words}", fits=_is_mapping, item=item)
    raise ValueError(
        f"is of the type {annotation!r}, which a payload cannot carry. Use str, int, float, bool, None, list[...], "
        "dict[str, ...], a union of these, Any, Address or Link; publish anything else as its text."
    )


def _one_of(options: Sequence[FieldType]) -> FieldType:
    return FieldType(
        words=" or ".join(option.words for option in options),
        fits=lambda value: any(option.misfit(value) is None for option in options),
    )


def _instance_of(*kinds: type) -> Callable[[Any], bool]:
    # bool is an int to Python, but "True copies" is never meant.
    return lambda value: isinstance(value, kinds) and not isinstance(value, bool)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def _is_address(value: Any) -> bool:
    try:
        return bool(valid_address(value))
    except InvalidAddress:
        return False


def _is_link(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"(?i:https?)://[^\s/?#]\S*", value) is not None


_plain: Mapping[Any, FieldType] = {
    str: FieldType(words="text", fits=_instance_of(str)),
    int: FieldType(words="a whole number", fits=_instance_of(int)),
    float: FieldType(words="a number", fits=_instance_of(int, float)),
    bool: FieldType(words="True or False", fits=lambda value: isinstance(value, bool)),
    type(None): FieldType(words="None", fits=lambda value: value is None),
    Any: FieldType(words="anything", fits=lambda value: True),  # noqa: ARG005 - called like the others
}

Address = Annotated[str, FieldType(words="an e-mail address", fits=_is_address)]
Link = Annotated[str, FieldType(words="an http(s) address", fits=_is_link)]
