"""Reads a typed tree from a preset or TOML file and `a.b=c` overrides; refuses unknown keys by their full path."""

import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

Tree = TypeVar("Tree")


class ConfigError(ValueError):
    """A configuration cannot be read; the message names the file or option, the key and what is wrong."""


def preset_names() -> list[str]:
    """The names of the presets that ship with the package."""
    return sorted(
        p.name.removesuffix(".toml") for p in resources.files("smartedit.presets").iterdir() if p.name.endswith(".toml")
    )


def load_tree(tree_type: type[Tree], *, source: str | Path | None = None, overrides: Sequence[str] = ()) -> Tree:
    """Build a configuration tree.

    Args:
        tree_type: A pydantic dataclass declared with `extra="forbid"`, whose defaults come first.
        source: A preset's name or the path of a TOML file; None for the defaults.
        overrides: `a.b=value` texts, the value in TOML notation or a bare string; the last one wins.

    Returns:
        The validated tree.

    Raises:
        ConfigError: Unknown preset, broken TOML, unknown key or a value of the wrong type.
    """
    values = read_toml(source) if source is not None else {}
    for override in overrides:
        _apply(values, override)
    return validated(tree_type, values, str(source) if source is not None else "configuration")


def validated(tree_type: type[Tree], values: Mapping[str, Any], origin: str) -> Tree:
    """A tree from plain values.

    Args:
        tree_type: As in `load_tree`.
        values: Its values.
        origin: Where they come from, for the message.

    Raises:
        ConfigError: Unknown key, with those that there are, or a value of the wrong type.
    """
    try:
        return TypeAdapter(tree_type).validate_python(values)
    except ValidationError as error:
        lines = [_told(e, tree_type, values) for e in error.errors()]
        raise ConfigError(f"{origin}: " + "; ".join(lines)) from error


def _told(error: Any, tree_type: type, values: Any) -> str:
    key = _key(error["loc"], values)
    if error["type"] not in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"{key}: {error['msg']} (got {error['input']!r})"
    known = sorted(_names_beside(error["loc"], TypeAdapter(tree_type).json_schema()))
    close = get_close_matches(key.rpartition(".")[2], known, n=1)
    guess = f", do you mean {close[0]}?" if close else ""
    return (
        f"{key}: there is no such key{guess} (there are {', '.join(known)})"
        if known
        else f"{key}: there is no such key"
    )


def _names_beside(place: Sequence[str | int], schema: Mapping[str, Any]) -> set[str]:
    """The keys that a table has, by the schema; of several types that it may be, those of all."""
    nodes: list[Mapping[str, Any]] = [schema]
    for part in [*place[:-1], None]:
        found = []
        while nodes:
            node = nodes.pop()
            if "$ref" in node:
                nodes.append(schema["$defs"][node["$ref"].rpartition("/")[2]])
            nodes += [*node.get("anyOf", ()), *node.get("oneOf", ())]
            nodes += [node["items"]] if isinstance(part, int) and "items" in node else []
            found.append(node)
        inside = [n.get("properties", {}).get(part, n.get("additionalProperties")) for n in found]
        tagged = [n["discriminator"]["mapping"].get(part) for n in found if "discriminator" in n]
        # pydantic also names which of several types a table was taken for; that is no step down.
        nodes = [{"$ref": ref} for ref in tagged if ref] or [n for n in inside if isinstance(n, Mapping)] or found
        if part is None:
            return {name for node in found for name in node.get("properties", {})}
    return set()


def _key(place: Sequence[str | int], values: Any) -> str:
    """The path as the user wrote it: pydantic also names which of several types a table was taken for."""
    shown, node = [], values
    for step, part in enumerate(place):
        inside = node[part] if isinstance(node, Mapping) and part in node else None
        if inside is None and isinstance(node, Mapping) and step < len(place) - 1:
            continue
        shown.append(str(part))
        node = inside
    return ".".join(shown)


def read_toml(source: str | Path) -> dict[str, Any]:
    """The content of a preset or of a TOML file.

    Raises:
        ConfigError: There is neither a preset nor a file of that name, or the TOML is broken or no UTF-8.
    """
    path = Path(source)
    if path.suffix == ".toml":
        if not path.is_file():
            raise ConfigError(f"{path}: there is no such file")
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: TOML is UTF-8, and this is not ({error})") from error
    else:
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder; name a TOML file in it")
        if str(source) not in preset_names():
            raise ConfigError(f"no preset {str(source)!r}; presets are {', '.join(preset_names())}, files end in .toml")
        text = resources.files("smartedit.presets").joinpath(f"{source}.toml").read_text(encoding="utf-8")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: broken TOML ({error})") from error


def parse_override(text: str) -> tuple[list[str], Any]:
    """Split `a.b=value` into its path and its value.

    Raises:
        ConfigError: There is no `=` or no key.
    """
    key, separator, value = text.partition("=")
    path = [part.strip() for part in key.split(".")]
    if not separator or not all(path):
        raise ConfigError(f"--set {text!r}: write it as section.key=value")
    try:
        return path, tomllib.loads(f"v = {value}")["v"]
    except tomllib.TOMLDecodeError:
        return path, value


def _apply(values: dict[str, Any], override: str) -> None:
    path, value = parse_override(override)
    node: Any = values
    for part in path[:-1]:
        node = node.setdefault(part, {})
        if not isinstance(node, Mapping):
            raise ConfigError(f"--set {override!r}: {part} is a value, not a section")
    node[path[-1]] = value
