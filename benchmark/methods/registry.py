"""The methods by name, and how a command line's words become methods with labels and options."""

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.methods.http import OPENAI_IMAGES, PLAIN_HTTP
from benchmark.methods.instruct_diffusion import INSTRUCT_DIFFUSION
from benchmark.methods.instruct_pix2pix import INSTRUCT_PIX2PIX, MAGICBRUSH
from benchmark.methods.modern import MODERN
from benchmark.methods.outputs import OUTPUTS
from benchmark.methods.references import COPY_INPUT, ORACLE_INPAINT, ORACLE_TARGET, VAE_ROUNDTRIP
from benchmark.methods.small_editors import PIX2PIX_SMALL, SMARTEDIT_SMALL
from benchmark.methods.smart_edit import SMART_EDIT, SMART_EDIT_COMPOSITED, SMARTEDIT_7B, SMARTEDIT_13B
from benchmark.methods.specs import Method, MethodError, MethodSpec, Setting, Tag, read_options
from smartedit.config.loading import parse_override
from smartedit.editing import Editor

METHODS: dict[str, MethodSpec] = {
    spec.name: spec
    for spec in (
        COPY_INPUT,
        VAE_ROUNDTRIP,
        ORACLE_INPAINT,
        ORACLE_TARGET,
        INSTRUCT_PIX2PIX,
        MAGICBRUSH,
        INSTRUCT_DIFFUSION,
        *MODERN,
        SMARTEDIT_SMALL,
        PIX2PIX_SMALL,
        SMARTEDIT_7B,
        SMARTEDIT_13B,
        SMART_EDIT,
        SMART_EDIT_COMPOSITED,
        OPENAI_IMAGES,
        PLAIN_HTTP,
        OUTPUTS,
    )
}
"""Every method that ships, in the order that `smartedit-bench methods` lists them."""

LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@ -]*")
FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True, kw_only=True, slots=True)
class MethodWords:
    """What a command line says about methods.

    Attributes:
        methods: `NAME`, `LABEL=NAME`, `package.module:factory` or `LABEL=package.module:factory`.
        outputs: `DIR` or `LABEL=DIR`.
        models: `MODEL` or `LABEL=MODEL`.
        sets: `LABEL.key=value`.
    """

    methods: Sequence[str] = ()
    outputs: Sequence[str] = ()
    models: Sequence[str] = ()
    sets: Sequence[str] = ()


def resolve_methods(words: MethodWords) -> list[Method]:
    """Methods with labels and options.

    Args:
        words: The options of the command line.

    Returns:
        One method a label, in the order given.

    Raises:
        MethodError: A method is unknown, a label stands twice, or an option fits none of them.
    """
    specs, values = _labelled(words)
    _apply_models(words.models, specs, values)
    for text in words.sets:
        path, value = parse_override(text)
        label = ".".join(path[:-1])
        if label not in specs:
            raise MethodError(f"--set {text}: no method {label!r} in this run; there are {', '.join(specs)}")
        values[label][path[-1]] = value
    if not specs:
        raise MethodError(f"no method: give --method NAME (one of {', '.join(METHODS)}) or --outputs DIR")
    return [Method(label=k, spec=spec, options=read_options(spec, k, values[k])) for k, spec in specs.items()]


def _labelled(words: MethodWords) -> tuple[dict[str, MethodSpec], dict[str, dict[str, Any]]]:
    """Specs and first options by label; unknown names that have outputs are labels of outputs."""
    specs: dict[str, MethodSpec] = {}
    values: dict[str, dict[str, Any]] = {}
    unnamed = [o for o in words.outputs if "=" not in o]
    named: dict[str, str] = {}
    for label, folder in (o.split("=", 1) for o in words.outputs if "=" in o):
        if label in named:
            raise MethodError(f"--outputs {label}={folder}: {label} is {named[label]} already; give it another label")
        named[label] = folder
    if len(unnamed) > 1:
        raise MethodError(f"--outputs {' --outputs '.join(unnamed)}: name each, as --outputs LABEL=DIR")
    for text in words.methods:
        label, _, name = text.rpartition("=")
        label = label or name
        own: dict[str, Any] = {}
        if name in METHODS and name != OUTPUTS.name:
            spec = METHODS[name]
        elif FACTORY.fullmatch(name):
            spec = factory_spec(name)
        elif label in named:
            spec, own = OUTPUTS, {"folder": named.pop(label)}
        elif unnamed:
            spec, own = OUTPUTS, {"folder": unnamed.pop()}
        elif name == OUTPUTS.name:
            raise MethodError("--method outputs: give --outputs DIR with the edited pictures")
        else:
            raise MethodError(
                f"--method {text}: unknown method; one of {', '.join(METHODS)}, or package.module:factory, or give "
                f"--outputs DIR for pictures made elsewhere"
            )
        _add(specs, values, label, spec, own)
    for label, folder in [*((OUTPUTS.name, o) for o in unnamed), *named.items()]:
        _add(specs, values, label, OUTPUTS, {"folder": folder})
    return specs, values


def _add(
    specs: dict[str, MethodSpec], values: dict[str, dict[str, Any]], label: str, spec: MethodSpec, own: dict[str, Any]
) -> None:
    label = label.replace(":", ".")
    if not LABEL.fullmatch(label):
        raise MethodError(f"{label!r}: no usable label; use letters, digits, and . _ + @ - in it, as it names a folder")
    if label in specs:
        raise MethodError(f"--method {label}: stands twice; give one of them a label of its own, LABEL={spec.name}")
    specs[label] = spec
    values[label] = dict(own)


def _apply_models(models: Sequence[str], specs: Mapping[str, MethodSpec], values: dict[str, dict[str, Any]]) -> None:
    takers = [label for label, spec in specs.items() if spec.takes_model]
    for text in models:
        label, separator, model = text.partition("=")
        if separator and label in specs and not Path(text).exists():
            chosen = label
        elif len(takers) == 1:
            chosen, model = takers[0], text
        else:
            named = ", ".join(takers) or "none of them"
            raise MethodError(f"--model {text}: {named} take a model; write --model LABEL=MODEL")
        values[chosen]["model"] = model


def factory_spec(name: str) -> MethodSpec:
    """A method from outside: `package.module:factory` names a function that makes an `Editor`.

    The factory is called with the method's `--set` options as keywords, but for `tags`, and with `device` if it takes
    that.
    """
    from benchmark.methods.custom import FactoryOptions, build_factory, describe_factory

    def build(options: FactoryOptions, setting: Setting) -> Editor:
        return build_factory(name, options, setting)

    return MethodSpec(
        name=name,
        summary="Your own editor.",
        tags=(Tag.DIRECT,),
        options=FactoryOptions,
        build=build,
        batched=True,
        describe=lambda options: describe_factory(name),
    )


def import_factory(name: str) -> Any:
    """The object that `package.module:factory` names, looked up from the current folder too.

    Raises:
        MethodError: There is no such module or attribute, or importing it fails.
    """
    import sys

    module_name, _, attribute = name.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise MethodError(
            f"--method {name}: {error}; it must name a function as package.module:factory, importable from the current "
            "folder or installed"
        ) from error
    except (Exception, SystemExit) as error:
        # Whatever a module of somebody else does while it is imported is told as its own, without our traceback.
        raise MethodError(
            f"--method {name}: importing {module_name} raised {type(error).__name__}: {error}; mend the module"
        ) from error
