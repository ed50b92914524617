"""From run folders to a study: what is rated, what is planted, and whether the pictures are still the same."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.human_ratings import read_ratings
from benchmark.runs import Run, RunError
from reason_edit.rating.pictures import Pictures
from reason_edit.rating.returns import Returns, read_returns
from reason_edit.rating.sheets import Panel
from reason_edit.rating.store import Store, check_name
from reason_edit.rating.study import (
    Answer,
    ItemKey,
    RatingError,
    StudyItem,
    describe_changes,
    hashed_shuffle,
    item_keys,
    item_order,
)
from reason_edit.schema import EditSample

COPY = "attention copy"
TARGET = "attention target"


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedStudy:
    """A study that is ready to be shown.

    Attributes:
        store: Its votes.
        pictures: Its pictures, by item number.
        location: Where the votes lie.
    """

    store: Store
    pictures: Pictures
    location: str


def study_location(folders: Sequence[Path], study: str | None) -> str:
    """The database of a study: the one that was named, else the only `study.sqlite` in the run folders.

    Args:
        folders: The run folders, in any order; a study that is not begun yet belongs into the first.
        study: The database that was named.

    Raises:
        RatingError: Several run folders have one.
    """
    if study is not None:
        return study
    found = [path for folder in folders if (path := folder / "study.sqlite").is_file()]
    if len(found) > 1:
        raise RatingError(f"{' and '.join(map(str, found))} are studies of their own; choose one with --study FILE")
    return str(found[0] if found else folders[0] / "study.sqlite")


def edits_to_rate(runs: Sequence[Run], methods: Sequence[str] | None = None) -> list[StudyItem]:
    """One item for every edited picture of the runs.

    An edit that failed has no picture and is not shown; it stays in the coverage.

    Args:
        runs: The run folders.
        methods: Only these methods.

    Returns:
        The items.

    Raises:
        RunError: A folder is no run, a record belongs to no sample, or a method is not there.
    """
    items = []
    found: set[str] = set()
    for run in runs:
        samples = {s.sample_id: s for s in run.samples()}
        for record in run.edits():
            if record.sample_id not in samples:
                raise RunError(f"{run.edits_path}: {record.method} has an edit of unknown sample {record.sample_id!r}")
            found.add(record.method)
            if record.image is None or (methods is not None and record.method not in methods):
                continue
            items.append(_item(record.method, samples[record.sample_id], run.folder / record.image))
    if missing := sorted(set(methods or ()) - found):
        raise RunError(f"no method {', '.join(missing)} in these runs; there are {', '.join(sorted(found))}")
    return items


def _item(method: str, sample: EditSample, edited: Path, expected: Answer | None = None) -> StudyItem:
    return StudyItem(
        method=method,
        sample_id=sample.sample_id,
        category=sample.category,
        instruction=sample.instruction,
        source=sample.image,
        edited=edited,
        expected=expected,
    )


def attention_items(items: Sequence[StudyItem], rights: Sequence[StudyItem], copies: int, seed: int) -> list[StudyItem]:
    """Copies of the input, which are not aligned, and edits that are known to be right.

    Args:
        items: The edits to rate.
        rights: Right edits.
        copies: How many copies to plant.
        seed: Chooses the samples.

    Returns:
        The planted items.

    Raises:
        RatingError: There are fewer samples than copies.
    """
    of_sample = {item.sample_id: item for item in items}
    ids = sorted(of_sample)
    if copies > len(ids):
        raise RatingError(f"{copies} attention copies are more than the {len(ids)} samples")
    chosen = [of_sample[ids[i]] for i in hashed_shuffle(range(len(ids)), seed, "copies")[:copies]]
    planted = [replace(i, method=COPY, edited=i.source, expected=Answer.NOT_ALIGNED) for i in chosen]
    return planted + [replace(i, method=TARGET, expected=Answer.ALIGNED) for i in rights]


def open_study(
    folders: Sequence[Path],
    study: str | None,
    *,
    names: Sequence[str] = (),
    methods: Sequence[str] | None = None,
    per_item: int | None = None,
    copies: int = 0,
    targets: int = 0,
    target_method: str | None = None,
    seed: int = 0,
    for_nobody: bool = True,
) -> OpenedStudy:
    """Go on with a study, or begin it where there is none, and invite raters.

    What a study consists of is fixed when it begins: afterwards raters can be invited, and nothing else may differ.

    Args:
        folders: The run folders.
        study: The database; None for the usual place.
        names: Raters to invite.
        methods: Methods to rate; None for all.
        per_item: Raters per item; None for all.
        copies: Attention copies to plant.
        targets: Right edits to plant.
        target_method: The method whose edits are right.
        seed: What all orders follow from.
        for_nobody: Whether a study may begin without raters.

    Returns:
        The study.

    Raises:
        RatingError: The pictures or the arguments differ from those that the study began with, or the arguments
            contradict one another.
        RunError: A folder is no run.
    """
    runs = [Run(f) for f in folders]
    location = study_location(folders, study)
    for run in runs:
        run.settings()
    store = Store.open(location) if _has_study(location) else None
    if store is not None:
        known = store.items()
        _need_their_methods(location, known, runs)
        _need_same_study(
            location,
            known,
            store.panel(),
            methods=methods,
            per_item=per_item,
            copies=copies,
            targets=targets,
            seed=seed,
        )
        items = _known_items(known, runs)
        found = item_keys(items) if items else []
        if changes := describe_changes(known, found):
            raise RatingError(
                f"{location}: the pictures are not those that the study began with: {changes}. "
                "Put the old files back, or begin a new study with --study FILE"
            )
        items = item_order(items)
    else:
        items = edits_to_rate(runs, methods)
        rights: list[StudyItem] = []
        if targets:
            if target_method is None:
                raise RatingError("--attention-targets needs --target-method, whose edits are right")
            known_right = edits_to_rate(runs, [target_method])
            if targets > len(known_right):
                raise RatingError(f"{targets} attention targets are more than {target_method} has edits")
            rights = [known_right[i] for i in hashed_shuffle(range(len(known_right)), seed, "targets")[:targets]]
        if target_method is not None:
            items = [i for i in items if i.method != target_method]
        items = item_order([*items, *attention_items(items, rights, copies, seed)])
        names = list(dict.fromkeys(name.strip() for name in names))
        for name in names:
            check_name(name)  # before the study begins: its panel is fixed then
        if not names and not for_nobody:
            raise RatingError("nobody is invited yet; name raters with --rater NAME or --raters COUNT")
        size = len(names) if per_item is not None else None
        found = item_keys(items)
        store = Store.create(location, found, Panel(seed=seed, raters_per_item=per_item, size=size))
    for name in names:
        store.invite(name)
    return OpenedStudy(store=store, pictures=Pictures(found, items), location=location)


def _has_study(location: str) -> bool:
    """Whether a study was begun there."""
    from reason_edit.rating.database import open_engine

    if "://" not in location and not Path(location).is_file():
        return False
    return Store(open_engine(location)).exists()


def _need_their_methods(location: str, known: Sequence[ItemKey], runs: Sequence[Run]) -> None:
    """Refuse runs of which nothing is in the study: neither edits that are rated nor right ones that are planted."""
    rated = {key.method for key in known if key.expected is None}
    planted = {key.edited_sha256 for key in known if key.expected is not None}
    for run in runs:
        if not any(e.method in rated or e.image_sha256 in planted for e in run.edits()):
            raise RatingError(
                f"{location}: this study has no edit of {run.folder}; leave that run out, or name another study with "
                "--study FILE"
            )


def _need_same_study(
    location: str,
    known: Sequence[ItemKey],
    panel: Panel,
    *,
    methods: Sequence[str] | None,
    per_item: int | None,
    copies: int,
    targets: int,
    seed: int,
) -> None:
    """Refuse what was asked for and is not how the study began; what was left out is taken as it began."""
    planted = Counter(key.method for key in known if key.expected is not None)
    rated = {key.method for key in known if key.expected is None}
    asked: dict[str, tuple[str | int | None, str | int | None]] = {
        "--method": (", ".join(sorted(set(methods or ()))), ", ".join(sorted(rated))),
        "--per-item": (per_item, panel.raters_per_item),
        "--attention-copies": (copies, planted[COPY]),
        "--attention-targets": (targets, planted[TARGET]),
        "--seed": (seed, panel.seed),
    }
    for option, (now, then) in asked.items():
        if now and now != then:
            began = f"with {option} {then}" if then else f"without {option}"
            raise RatingError(
                f"{location}: began {began}, not {now}, and a study stays as it began: leave {option} out, or begin "
                "another with --study FILE"
            )


def _known_items(known: Sequence[ItemKey], runs: Sequence[Run]) -> list[StudyItem]:
    """The items of a study as its runs have them now: without what is gone, with new edits of its methods."""
    methods = {k.method for k in known if k.expected is None}
    here = {(i.sample_id, i.method): i for i in edits_to_rate(runs)}
    items = [i for (_, method), i in here.items() if method in methods]
    by_sample = {sample: item for (sample, _), item in here.items()}
    rights = [i for i in here.values() if i.method not in methods]
    for key in known:
        if key.expected is None or key.sample_id not in by_sample:
            continue
        if key.method == COPY:
            source = by_sample[key.sample_id]
            items.append(replace(source, method=COPY, edited=source.source, expected=key.expected))
        else:
            items += [
                replace(i, method=key.method, expected=key.expected)
                for i in rights
                if i.sample_id == key.sample_id and _same_file(i.edited, key.edited_sha256)
            ][:1]
    return items


def _same_file(path: Path, expected: str) -> bool:
    from reason_edit.files import file_sha256

    return path.is_file() and file_sha256(path) == expected


def read_study(runs: Sequence[Run], study: str | None) -> Returns:
    """The standing answers in the database of a study of these runs.

    Raises:
        RatingError: There is none, or it is of other runs.
    """
    location = study_location([run.folder for run in runs], study)
    store = Store.open(location)
    _need_their_methods(location, store.items(), runs)
    return read_returns(store)


def read_answers(runs: Sequence[Run], study: str | None) -> Returns:
    """The standing answers: from the study's database where there is one, else from the runs' rating tables.

    Raises:
        RatingError: There is neither.
    """
    location = study_location([run.folder for run in runs], study)
    if study is not None or Path(location).is_file():
        return read_study(runs, study)
    rated = [run for run in runs if (run.folder / "ratings.parquet").is_file()]
    if not rated:
        named = ", ".join(str(run.folder) for run in runs)
        raise RatingError(f"{named}: no study.sqlite and no ratings.parquet; `rate serve` begins a study")
    return Returns(ratings=tuple(r for run in rated for r in read_ratings(run)), attention=(), raters=())
