"""Which weights a method means by default: hub id, commit, licence, and how each of them is known."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """Published weights.

    Attributes:
        model: Hub id; None where none is known.
        revision: The commit (40 hex digits) or branch that is meant; None where none was seen, and then the hub's main
            branch is taken. It is meant for `model` alone: another one given by `--model` has commits of its own.
        license: In the maker's words, shortened.
        billions: Parameters of all parts together, in 10^9, as announced; None where unknown. In bfloat16 they take
            twice as many GB.
        gated: Whether the hub wants its licence accepted first; None where that was not seen.
        checked: Where id, licence and commit were read. No page of the hub was open to this project: stored copies of
            public text were.
    """

    model: str | None
    revision: str | None = None
    license: str
    billions: float | None = None
    gated: bool | None = False
    checked: str

    def revision_of(self, model: str, asked: str | None) -> str | None:
        """The revision to take of a model.

        Args:
            model: The hub id or folder that is used.
            asked: What the user set; wins.

        Returns:
            A revision, or None for the main branch.
        """
        return asked or (self.revision if model == self.model else None)

    def facts(self) -> dict[str, str]:
        """What `smartedit-bench methods --verbose` says."""
        gate = {True: ", gated", False: "", None: ", whether gated is not known"}[self.gated]
        memory = (
            f"about {2 * self.billions:.0f} GB of bfloat16 weights (as announced)" if self.billions else "not known"
        )
        facts = {"license": self.license + gate, "memory": memory, "checked": self.checked}
        if self.model is None:
            return facts
        return {"checkpoint": f"{self.model} @ {self.revision or 'main (no commit is known)'}", **facts}
