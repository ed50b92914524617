"""What a picture holds, before anything is proposed: counts of kinds, and a language model's clues for them."""

from collections.abc import Iterator, Mapping

from reason_edit.schema import Category
from smartedit.synthesis.knowledge import Clue
from smartedit.synthesis.propose import census
from smartedit.synthesis.records import Candidate, PictureRow, Rejection
from smartedit.synthesis.run_folder import RunFolder
from smartedit.synthesis.stage import Outcome, Pictures
from smartedit.synthesis.toolbox import Toolbox
from smartedit.tools.protocols import ToolError


def invented_clues(
    counts: Mapping[str, int], tools: Toolbox, outcome: Outcome[Candidate], picture_id: str
) -> dict[str, list[Clue]]:
    """Clues of a language model for the things that a picture holds once; none unless configured."""
    writer = tools.clue_writer()
    found: dict[str, list[Clue]] = {}
    mirror = tools.config.proposals.mirror_word
    editable = sorted(k for k, n in counts.items() if n == 1 and k in tools.knowledge.things and k != mirror)
    for kind in editable if writer is not None else ():
        assert writer is not None
        others = sorted(k for k in counts if k != kind)
        try:
            texts = writer.clues(kind, tools.knowledge.forbidden(kind), others)
        except ToolError as error:
            rejection = Rejection(
                key=f"{picture_id}.clue.{kind}",
                candidate_id=None,
                category=Category.REASONING,
                stage="propose",
                reason="writer failed",
                detail=str(error),
            )
            outcome.rejections.append(rejection)
            continue
        found[kind] = [Clue(text=text, things=(kind,)) for text in texts]
    return found


def counts_of_kinds(
    folder: RunFolder, rows: list[PictureRow], tools: Toolbox, outcome: Outcome[Candidate]
) -> Iterator[dict[str, int] | None]:
    """How many of each kind a picture holds: by its annotations, or by a detector's look at the whole vocabulary."""
    wanted = list(tools.config.pictures.vocabulary)
    mirror = tools.config.proposals.mirror_word
    if tools.annotated is not None:
        for row in rows:
            known = tools.annotated[row.picture_id].counts()
            yield {k: n for k, n in sorted(known.items()) if not wanted or k in wanted or k == mirror}
        return
    vocabulary = list(dict.fromkeys([*(wanted or sorted(tools.knowledge.things)), mirror]))
    pictures = Pictures(folder.root, rows)
    grounder = tools.grounder(tools.config.grounder)
    for row in rows:
        try:
            yield census([pictures[row.picture_id]], vocabulary, grounder)[0]
        except ToolError as error:
            outcome.rejections.append(
                Rejection(
                    key=row.picture_id,
                    candidate_id=None,
                    category=None,
                    stage="propose",
                    reason="tool failed",
                    detail=str(error),
                )
            )
            yield None
