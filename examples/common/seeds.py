"""Means over rows that differ in their seed alone."""

import json
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

Row = Mapping[str, Any]


def over_seeds(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return one row for all seeds of a setting, its numbers means; ``seeds`` says of how many."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        settings = {name: value for name, value in row["settings"].items() if name != "seed"}
        groups.setdefault(json.dumps(settings, sort_keys=True), []).append(row)
    return [
        {**_mean([{**row, "settings": {}} for row in group]), **_of(group)}
        for group in groups.values()
    ]


def _of(group: Sequence[Row]) -> dict[str, Any]:
    return {"settings": group[0]["settings"], "seeds": len(group)}


def _mean(values: Sequence[Any]) -> Any:
    first = values[0]
    if isinstance(first, Mapping):
        shared = [name for name in first if all(name in value for value in values)]
        return {name: _mean([value[name] for value in values]) for name in shared}
    return fmean(values) if _differ(values) else first


def _differ(values: Sequence[Any]) -> bool:
    return isinstance(values[0], int | float) and any(value != values[0] for value in values)
