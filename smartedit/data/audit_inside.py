"""Pictures that lie in two places of a manifest: the same, nearly the same, and crops after a second look."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smartedit.data.agreement import AGREEMENT, best_agreement
from smartedit.data.audit_work import AuditWork
from smartedit.data.duplicates import Pairs, crop_distance, find_near_inside, same_groups
from smartedit.data.faults import FaultyRecordError
from smartedit.data.fingerprints import Views, views
from smartedit.data.overlaps import Kind, Overlap

SURE = 12
"""Bits of 128 up to which a pair needs no second look; measured in docs/measurements/audit.md."""
CROP_BITS = 20
"""Bits up to which a picture, cut or not, must be near to the other to be laid over it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inside:
    """What was found inside.

    Attributes:
        overlaps: A pair of pictures each.
        cut_short: Look-ups that were left out because too many pictures share 16 bits.
        not_looked: Pairs that were not given their second look because there were too many.
    """

    overlaps: list[Overlap]
    cut_short: int
    not_looked: int


def find_inside(work: AuditWork, threshold: int) -> Inside:
    """The pairs of pictures that are alike; source and target of one row may be."""
    prints = work.read.prints
    groups = same_groups(prints)
    numbers = np.arange(len(groups))
    copies = numbers[groups != numbers]
    exact = Pairs(first=groups[copies], second=copies, distance=np.zeros(len(copies), dtype=np.int64))
    near = find_near_inside(prints, np.unique(groups[prints.is_read]), threshold)
    pairs = _of_several_rows(near.pairs, groups, work)
    doubtful = np.flatnonzero(pairs.distance > SURE)
    doubtful = doubtful[np.argsort(pairs.distance[doubtful], kind="stable")]
    looked = doubtful[: work.options.inside_looks]
    is_near = pairs.distance <= SURE
    is_near[looked[_second_look(work, pairs, looked)]] = True
    kept = Pairs(first=pairs.first[is_near], second=pairs.second[is_near], distance=pairs.distance[is_near])
    overlaps = [*_overlaps(work, Kind.EXACT, exact), *_overlaps(work, Kind.NEAR, kept)]
    return Inside(overlaps=overlaps, cut_short=near.cut_short, not_looked=len(doubtful) - len(looked))


def _of_several_rows(pairs: Pairs, groups: NDArray[np.int64], work: AuditWork) -> Pairs:
    """The pairs that are not the source and the target of one row."""
    count = len(groups)
    shown = np.stack([work.pictures.of_rows["image"], work.pictures.of_rows["target"]], axis=1)
    both = np.sort(groups[shown[(shown >= 0).all(axis=1)]], axis=1)
    found = np.sort(np.stack([groups[pairs.first], groups[pairs.second]], axis=1), axis=1)
    kept = ~np.isin(found[:, 0] * count + found[:, 1], both[:, 0] * count + both[:, 1])
    return Pairs(first=pairs.first[kept], second=pairs.second[kept], distance=pairs.distance[kept])


def _second_look(work: AuditWork, pairs: Pairs, chosen: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether pairs agree when laid over each other; most strangers are told by the hashes of their crops."""
    known: dict[int, Views] = {}
    agree = np.zeros(len(chosen), dtype=bool)
    for place, pair in enumerate(chosen.tolist()):
        both = int(pairs.first[pair]), int(pairs.second[pair])
        try:
            for number in both:
                if number not in known:
                    known[number] = views(work.open(number))
            if crop_distance(*(known[number] for number in both)) <= CROP_BITS:
                agree[place] = best_agreement(*(work.open(number) for number in both)) >= AGREEMENT
        except FaultyRecordError:  # gone since it was hashed
            continue
    return agree


def _overlaps(work: AuditWork, kind: Kind, pairs: Pairs) -> Iterator[Overlap]:
    """Pairs of pictures as pairs of the first rows that show them."""
    first_row: dict[int, tuple[int, str]] = {}
    for role in ("image", "target"):
        shown, places = np.unique(work.pictures.of_rows[role], return_index=True)
        for number, row in zip(shown.tolist(), places.tolist(), strict=True):
            if number >= 0:
                first_row[number] = min(first_row.get(number, (row, role)), (row, role))
    columns: Any = (pairs.first.tolist(), pairs.second.tolist(), pairs.distance.tolist())
    for a, b, distance in zip(*columns, strict=True):
        (row, role), (other, other_role) = first_row[a], first_row[b]
        (example_id, source), (other_id, other_source) = work.id_of(row), work.id_of(other)
        yield Overlap(
            kind=kind,
            inside=True,
            row=row,
            example_id=example_id,
            source=source,
            role=role,
            other_id=other_id,
            other_row=other,
            other_source=other_source,
            other_role=other_role,
            score=float(distance),
        )
