"""The section ``env``: variables, or the dotenv file that has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gatewayd.project import values


def read(path: Path, value: Any, warnings: list[str]) -> dict[str, str]:
    """Return the variables for the project's code."""
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        return _checked(path, f"env: {value}", _dotenv(path, value, warnings))
    variables = values.mapping(path, "env", value)
    return _checked(path, "env", {name: _variable(path, name, item) for name, item in variables.items()})


def _dotenv(path: Path, name: str, warnings: list[str]) -> dict[str, str]:
    file = path.parent / name
    if not file.is_file():
        warnings.append(f"{path}: env: {name} is ignored: no such file")
        return {}
    import dotenv  # here, because most projects don't need it and the start is counted in milliseconds

    try:
        variables = dotenv.dotenv_values(file)
    except (OSError, UnicodeDecodeError) as error:
        raise values.bad(path, "env", f"{file} can't be read: {error}") from error
    return {variable: value for variable, value in variables.items() if value is not None}


def _variable(path: Path, name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return values.text(path, f"env.{name}", value, empty=True)


def _checked(path: Path, key: str, variables: dict[str, str]) -> dict[str, str]:
    """Refuse what no process can have in its environment, before a worker's start trips over it."""
    for name, value in variables.items():
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise values.bad(path, key, f"{name!r} can't be an environment variable")
    return variables
