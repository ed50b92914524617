"""What a method is: how it is named, tagged, set up and built."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from benchmark.methods.checkpoints import Checkpoint
from reason_edit.schema import EditSample
from smartedit.editing import EditRequest, EditResult


class Tag(StrEnum):
    """How a method comes to its picture; methods of different tags do not compete in one block of a table."""

    DIRECT = "direct"
    MASK_GIVEN = "mask-given"
    COMPOSITING = "compositing"
    PROMPT_REWRITE = "prompt-rewrite"
    REFERENCE = "reference"


def _separate(words: object) -> object:
    return [word.strip() for word in words.split(",")] if isinstance(words, str) else words


TagsOption = Annotated[tuple[Tag, ...], BeforeValidator(_separate)]
"""What a user says of pictures whose making only the user knows: one tag, or several with commas between them."""


class MethodError(ValueError):
    """A method is unknown, set up wrongly, or lacks its weights."""


class SampleError(ValueError):
    """A method has no result for one sample; the run goes on and keeps the reason."""


class FallibleEditor(Protocol):
    """An `Editor` that may say of single requests why they have no result; every `Editor` is one."""

    def edit(self, requests: Sequence[EditRequest]) -> Sequence[EditResult | SampleError]:
        """One result, or why there is none, for each request, in order."""
        ...


class Privileged(Protocol):
    """A method that is given more than picture and instruction, such as the mask; never tagged `direct`."""

    def make(self, sample: EditSample) -> EditResult:
        """The result for one sample.

        Raises:
            SampleError: There is none.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What a method is built with, beside its own options.

    Attributes:
        device: A torch device.
        samples: The samples of the run; handed to privileged methods only.
    """

    device: str
    samples: Sequence[EditSample] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class MethodSpec:
    """A method that `smartedit-bench` knows by name.

    Attributes:
        name: What `--method` takes.
        summary: One line for `smartedit-bench methods`.
        tags: How it comes to its picture.
        options: A pydantic dataclass (`extra="forbid"`) of its settings; `--set NAME.key=value` overrides them.
        build: Makes it from its options; a `FallibleEditor`, or a `Privileged` method where the tags say so.
        batched: Whether several samples go through at once.
        whole_batches: Whether a batch of which some pictures are missing is made again as a whole, so that its bytes
            do not depend on where a run was stopped; False where every edit costs money and knows no neighbours.
        describe: More for `run.json` (weights' hashes and revisions), found without building.
        facts: What `smartedit-bench methods --verbose` says beside the settings: class, licence, memory, remarks.
        checkpoint: The published weights that its default `model` names; None where it has none.
    """

    name: str
    summary: str
    tags: tuple[Tag, ...]
    options: type[Any]
    build: Callable[[Any, Setting], FallibleEditor | Privileged]
    batched: bool = False
    whole_batches: bool = True
    describe: Callable[[Any], Mapping[str, Any]] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None

    @property
    def takes_model(self) -> bool:
        """Whether `--model` applies to it."""
        return "model" in TypeAdapter(self.options).json_schema().get("properties", {})


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """A method with a label and its options, ready to be built.

    Attributes:
        label: How the run calls it; the spec's name unless the user gave another.
        spec: What it is.
        options: An instance of `spec.options`.
    """

    label: str
    spec: MethodSpec
    options: Any

    @property
    def tags(self) -> tuple[Tag, ...]:
        """How its pictures come to be: the spec's tags, unless its options have tags of the user's."""
        own: tuple[Tag, ...] = getattr(self.options, "tags", ())
        return own or self.spec.tags

    def settings(self) -> dict[str, Any]:
        """What `run.json` keeps: everything that decides the method's pictures."""
        # Not `asdict`, which leaves out what a factory of somebody else takes.
        values = {k: str(v) if isinstance(v, Path) else v for k, v in vars(self.options).items() if k != "tags"}
        described = dict(self.spec.describe(self.options)) if self.spec.describe else {}
        return {"method": self.spec.name, "tags": list(self.tags), "options": values, **described}

    def build(self, setting: Setting) -> FallibleEditor | Privileged:
        """Build it; what an editor gets holds no samples.

        Raises:
            MethodError: It cannot be built.
        """
        if Tag.DIRECT in self.spec.tags:
            setting = Setting(device=setting.device)
        return self.spec.build(self.options, setting)


def read_options(spec: MethodSpec, label: str, values: Mapping[str, Any]) -> Any:
    """A method's options from its defaults and the user's values.

    Raises:
        MethodError: An option is unknown, missing or of the wrong type; names it and the ones there are.
    """
    try:
        return TypeAdapter(spec.options).validate_python(dict(values))
    except ValidationError as error:
        known = ", ".join(TypeAdapter(spec.options).json_schema().get("properties", {})) or "none"
        lines = []
        for item in error.errors():
            name = ".".join(str(p) for p in (label, *item["loc"]))
            if item["type"] == "missing":
                shorter = f"--model {label}=MODEL or " if item["loc"] == ("model",) else ""
                lines.append(f"--method {label}: needs {item['loc'][-1]}; give {shorter}--set {name}=VALUE")
                continue
            if item["type"] == "value_error" and item["loc"]:
                # A check of ours, which says what may be said of the value: it may hold a secret.
                lines.append(f"--set {name}: {item['ctx']['error']}")
                continue
            lines.append(f"--set {name}={item['input']!r}: {item['msg']}" if item["loc"] else f"{label}: {item['msg']}")
        raise MethodError(f"{'; '.join(lines)} (options of {spec.name}: {known})") from error
