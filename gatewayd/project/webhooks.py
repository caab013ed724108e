"""The section ``webhooks``: where they may go, and with which headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatewayd.model.webhook import WebhookRules
from gatewayd.project import values

HEADER_VARIABLE = re.compile(r"\$\{\{\s*env\.([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")


def read(
    path: Path,
    document: dict[str, Any],
    env: Mapping[str, str],
    environ: Mapping[str, str],
    warnings: list[str],
) -> WebhookRules:
    """
    Read the section ``webhooks``; variables in headers are looked up in the project's env, then in the
    process's.
    """
    section = values.mapping(path, "webhooks", document.get("webhooks") or {})
    prefix = values.text(path, "webhooks.env_prefix", section.get("env_prefix") or "LG_WEBHOOK_")
    headers = {
        name: _header(path, f"webhooks.headers.{name}", value, prefix, {**environ, **env})
        for name, value in values.mapping(path, "webhooks.headers", section.get("headers") or {}).items()
    }
    switched_off = (document.get("http") or {}).get("disable_webhooks")
    fields: dict[str, Any] = {"headers": headers, "sent": not switched_off}
    url = section.get("url")
    if url is not None:
        fields["require_https"] = True
        for name, value in values.mapping(path, "webhooks.url", url).items():
            key = f"webhooks.url.{name}"
            if value is None:
                continue
            match name:
                case "require_https":
                    fields[name] = values.flag(path, key, value)
                case "disable_loopback":
                    fields["loopback"] = not values.flag(path, key, value)
                case "allowed_domains":
                    fields[name] = tuple(domain.lower() for domain in values.texts(path, key, value))
                case "allowed_ports":
                    fields[name] = values.ports(path, key, value)
                case "max_url_length":
                    fields[name] = values.whole(path, key, value, "characters")
                case _:
                    warnings.append(f"{path}: {key} is ignored: unknown key")
    return WebhookRules(**fields)


def _header(path: Path, key: str, value: Any, prefix: str, variables: Mapping[str, str]) -> str:
    def found(match: re.Match[str]) -> str:
        name = match[1]
        if not name.startswith(prefix):
            raise values.bad(path, key, f"the variable {name} must begin with {prefix}")
        if name not in variables:
            raise values.bad(path, key, f"the environment variable {name} is not set")
        return variables[name]

    text = HEADER_VARIABLE.sub(found, values.text(path, key, value, empty=True))
    if any(character in text for character in "\r\n\0"):
        raise values.bad(path, key, "must be one line")
    return text
