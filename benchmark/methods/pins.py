"""Which commit of a hub id would be run today: the one that a table cannot know without asking the hub."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmark.hub import hub_answers
from benchmark.methods.specs import MethodError, MethodSpec, read_options
from smartedit.hub import cached_commit


@dataclass(frozen=True, kw_only=True, slots=True)
class Pin:
    """What is known of a method's checkpoint.

    Attributes:
        method: The method's name.
        model: Hub id.
        commit: 40 hex digits; None where neither the cache nor the hub told.
        source: "cache" or "hub", or why there is none.
    """

    method: str
    model: str
    commit: str | None
    source: str


def pins(methods: Mapping[str, MethodSpec], names: Sequence[str] = ()) -> list[Pin]:
    """The commits of the methods' default checkpoints, from the hub's cache on this machine, or else from the hub.

    Args:
        methods: All methods by name.
        names: Some of them; none for all that have a hub id.

    Returns:
        One for each method with a hub id, in order.

    Raises:
        MethodError: There is no such method.
    """
    unknown = [name for name in names if name not in methods]
    if unknown:
        raise MethodError(f"--pin {unknown[0]}: no such method; one of {', '.join(methods)}")
    found = []
    for name, spec in methods.items():
        if names and name not in names:
            continue
        model, revision = _default(spec)
        if model is not None:
            commit, source = _commit(model, revision)
            found.append(Pin(method=name, model=model, commit=commit, source=source))
    return found


def _default(spec: MethodSpec) -> tuple[str | None, str | None]:
    """The hub id and revision of a method's defaults; None where it has no hub id."""
    try:
        options = read_options(spec, spec.name, {})
    except MethodError:
        return None, None
    model = getattr(options, "model", None)
    if not isinstance(model, str) or model.startswith(".") or model.count("/") != 1:
        return None, None
    asked = getattr(options, "revision", None)
    return model, spec.checkpoint.revision_of(model, asked) if spec.checkpoint is not None else asked


def _commit(model: str, revision: str | None) -> tuple[str | None, str]:
    cached = cached_commit(model, revision)
    if cached is not None:
        return cached, "cache"
    if not hub_answers(model):
        return None, "not in the cache, and the hub does not answer"
    from huggingface_hub import HfApi

    try:
        return HfApi().model_info(model, revision=revision, timeout=10.0).sha, "hub"
    except (OSError, ValueError) as error:
        return None, f"the hub says: {str(error).splitlines()[0]}"
