"""Who owns which fields of an object, so that what is no longer wanted of it goes with the next apply.

An object is created by a plain POST, since server-side apply would take over one of that name that is there already.
What a POST sets belongs to an update, though, and no later apply takes any of it out. So before the first such apply
counts, what the update owns is handed to the apply.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from serinus.ports import Manifest

_NOT_KEPT: Final = (("f:spec", "f:replicas"),)
"""Fields that the object only begins with: an apply that owned them would take them back when it leaves them out."""


def handed_to_apply(managed_fields: Iterable[Mapping[str, Any]], manager: str) -> list[Manifest] | None:
    """The managed fields, with all that `manager` owns by an update owned by its apply; None if there is nothing."""
    entries = [dict(entry) for entry in managed_fields]
    updated = [entry for entry in entries if _is(entry, manager, "Update")]
    applied = [entry for entry in entries if _is(entry, manager, "Apply")]
    if not updated or not applied:
        return None
    fields: Manifest = {}
    for entry in (*updated, *applied):
        fields = _union(fields, entry["fieldsV1"])
    for path in _NOT_KEPT:
        fields = _without(fields, path)
    others = [entry for entry in entries if entry not in updated and entry not in applied]
    return [*others, applied[0] | {"fieldsV1": fields}]


def _is(entry: Mapping[str, Any], manager: str, operation: str) -> bool:
    return (entry["manager"], entry["operation"]) == (manager, operation) and not entry.get("subresource")


def _union(one: Mapping[str, Any], other: Mapping[str, Any]) -> Manifest:
    return {
        key: _union(one.get(key, {}), other.get(key, {})) for key in (*one, *(key for key in other if key not in one))
    }


def _without(fields: Manifest, path: tuple[str, ...]) -> Manifest:
    first, *rest = path
    if first not in fields:
        return fields
    if not rest:
        return {key: inner for key, inner in fields.items() if key != first}
    return fields | {first: _without(fields[first], tuple(rest))}
