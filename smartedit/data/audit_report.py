"""What an audit found, as a Parquet table of all overlaps and one HTML page that shows pairs side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reason_edit.files import write_text
from reason_edit.loading import ImageError, load_reason_edit, read_image
from reason_edit.schema import EditSample
from reason_edit.tables import write_rows
from smartedit.data.audit import Audit
from smartedit.data.faults import FaultyRecordError
from smartedit.data.manifest import Manifest
from smartedit.data.overlaps import Kind, Overlap
from smartedit.data.page_pictures import fill_template, picture_address
from smartedit.data.pictures import PictureStore

OVERLAPS, PAGE = "overlaps.parquet", "audit.html"
CARDS = 60
MEANINGS = {
    Kind.EXACT: "the same pixels",
    Kind.NEAR: "the same picture resized, recompressed, cropped, mirrored or recoloured",
    Kind.ALIKE: "neighbours in the eyes of the image model",
    Kind.SUSPECTED: "near hashes, but the pictures do not agree when laid over each other: no copy",
    Kind.SAME_TEXT: "the same instruction, but for case and punctuation",
    Kind.SIMILAR_TEXT: "an instruction with most of its three-word sequences in common",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """A pair on the page; pictures are `data:` addresses, empty where there is none."""

    picture: str
    other: str
    example_id: str
    other_id: str
    role: str
    other_role: str
    score: str
    text: str | None
    other_text: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """All cards of one kind."""

    title: str
    count: int
    cards: list[Card]


def write_audit(audit: Audit, manifest: Manifest, benchmark: Path | None, out: Path) -> Path:
    """Write `overlaps.parquet` and `audit.html`.

    Returns:
        The page.
    """
    counts = {
        side: {kind.value: audit.count(kind, inside=side == "inside") for kind in Kind}
        for side in ("benchmark", "inside")
    }
    metadata = {"smartedit.audit": {"rows": audit.rows, "samples": audit.samples, "faults": audit.faults, **counts}}
    write_rows(out / OVERLAPS, audit.overlaps, Overlap, metadata)
    samples = {s.sample_id: s for s in load_reason_edit(benchmark)} if benchmark is not None else {}
    pictures = _Pictures(manifest, samples)
    page = fill_template(
        "audit.html",
        name=str(manifest.path),
        rows=audit.rows,
        samples=audit.samples,
        leaking=len(audit.leaking_rows()),
        kinds=[
            {
                "name": kind.value.replace("_", " "),
                "benchmark": _rows(audit, kind),
                "inside": ""
                if "text" in kind or kind in (Kind.SUSPECTED, Kind.ALIKE)
                else counts["inside"][kind.value],
                "meaning": meaning,
            }
            for kind, meaning in MEANINGS.items()
        ],
        pictures=audit.pictures,
        plain=audit.plain,
        cut_short=audit.cut_short,
        not_looked=audit.not_looked,
        repeated=audit.repeated,
        faults=list(audit.faults.items()),
        sections=[
            s for inside in (False, True) for kind in Kind if (s := _section(audit, kind, inside, pictures)).count
        ],
        most_repeated=audit.most_repeated,
    )
    write_text(out / PAGE, page)
    return out / PAGE


def _rows(audit: Audit, kind: Kind) -> str:
    """How many rows are like the benchmark in one way."""
    if kind is Kind.ALIKE and audit.image_model is None:
        return "not looked for"
    return str(len(audit.leaking_rows([kind])))


def _section(audit: Audit, kind: Kind, inside: bool, pictures: "_Pictures") -> Section:
    chosen = [o for o in audit.overlaps if o.kind is kind and o.inside is inside]
    where = "inside the manifest" if inside else "against the benchmark"
    title = f"{kind.value.replace('_', ' ').capitalize()} {where}"
    return Section(title=title, count=len(chosen), cards=[pictures.card(o) for o in _spread(chosen)])


def _spread(overlaps: Sequence[Overlap]) -> list[Overlap]:
    """Some of many: of a pair of pictures one row, the nearest pairs first."""
    seen: dict[tuple[str, str], Overlap] = {}
    order = sorted(overlaps, key=lambda o: o.score if o.inside else -o.score)
    for overlap in order:
        seen.setdefault((overlap.example_id, overlap.other_id), overlap)
    return list(seen.values())[:CARDS]


class _Pictures:
    """Small pictures of rows and of samples."""

    def __init__(self, manifest: Manifest, samples: dict[str, EditSample]) -> None:
        self._manifest = manifest
        self._samples = samples
        self._store = PictureStore(Path(manifest.data_root))

    def card(self, overlap: Overlap) -> Card:
        """A pair with its pictures."""
        bits = overlap.inside and overlap.kind is Kind.NEAR
        return Card(
            picture=self._row(overlap.row, overlap.role),
            other=self._other(overlap),
            example_id=overlap.example_id,
            other_id=overlap.other_id,
            role=overlap.role,
            other_role=overlap.other_role,
            score=f"{overlap.score:.0f} bits apart" if bits else f"{overlap.score:.3f}",
            text=overlap.text,
            other_text=overlap.other_text,
        )

    def _row(self, row: int, role: str) -> str:
        (example,) = self._manifest.take([row])
        ref = example.target if role == "target" else example.image
        try:
            return picture_address(self._store.open_upright(ref)) if ref is not None else ""
        except FaultyRecordError:
            return ""

    def _other(self, overlap: Overlap) -> str:
        if overlap.other_row is not None:
            return self._row(overlap.other_row, overlap.other_role)
        try:
            return picture_address(read_image(self._samples[overlap.other_id].image))
        except ImageError:
            return ""
