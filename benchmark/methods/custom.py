"""Editors from outside: `package.module:factory`."""

import hashlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from benchmark.methods.specs import MethodError, Setting, TagsOption
from smartedit.editing import Editor


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="allow"))
class FactoryOptions:
    """Whatever the factory takes; `--set LABEL.key=value` becomes its keywords, but for `tags`."""

    tags: TagsOption = ()
    """How the editor comes to its pictures, for example `compositing`; `direct` without tags."""


def build_factory(name: str, options: FactoryOptions, setting: Setting) -> Editor:
    """Call a factory.

    Raises:
        MethodError: It cannot be imported, raises, or makes something without an `edit` method.
    """
    from benchmark.methods.registry import import_factory

    factory = import_factory(name)
    keywords = {k: v for k, v in vars(options).items() if k != "tags"}
    try:
        if "device" in inspect.signature(factory).parameters:
            keywords.setdefault("device", setting.device)
        editor = factory(**keywords)
    except (Exception, SystemExit) as error:
        raise MethodError(f"--method {name}: the factory raised {type(error).__name__}: {error}") from error
    if not callable(getattr(editor, "edit", None)):
        raise MethodError(f"--method {name}: the factory made a {type(editor).__name__}, which has no edit(requests)")
    return editor  # type: ignore[no-any-return]


def describe_factory(name: str) -> Mapping[str, Any]:
    """Where the factory is defined, by the hash of its source file."""
    from benchmark.methods.registry import import_factory

    try:
        file = inspect.getsourcefile(import_factory(name))
    except TypeError:
        return {}
    return {"source_sha256": hashlib.sha256(Path(file).read_bytes()).hexdigest()} if file else {}
