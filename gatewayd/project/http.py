"""The section ``http``: other origins; its switches are read where the project is put together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gatewayd.project import values
from gatewayd.project.model import CORS_METHODS, Cors


def cors(path: Path, value: Any, warnings: list[str]) -> Cors | None:
    """Read what other origins may do; None if the file does not say."""
    if value is None:
        return None
    given = {
        name: item for name, item in values.mapping(path, "http.cors", value).items() if item is not None
    }
    fields: dict[str, Any] = {}
    for name, item in given.items():
        key = f"http.cors.{name}"
        match name:
            case "allow_origins" | "allow_methods" | "allow_headers" | "expose_headers":
                fields[name] = values.texts(path, key, item)
            case "allow_credentials":
                fields[name] = values.flag(path, key, item)
            case "allow_origin_regex":
                fields[name] = values.pattern(path, key, item)
            case "max_age":
                fields[name] = values.whole(path, key, item)
            case _:
                warnings.append(f"{path}: {key} is ignored: unknown key")
    if "allow_methods" in fields:
        wanted = tuple(method.upper() for method in fields["allow_methods"])
        fields["allow_methods"] = CORS_METHODS if "*" in wanted else wanted
    if not fields.get("allow_origins") and "allow_origin_regex" not in fields:
        warnings.append(
            f"{path}: http.cors names no origin (allow_origins, allow_origin_regex): none is allowed"
        )
    return Cors(**fields)
