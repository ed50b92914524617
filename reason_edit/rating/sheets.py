"""Blind assignment: which items a rater sees, in which order, and under which names that say nothing."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from reason_edit.rating.study import ItemKey, RatingError, hashed_shuffle


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """How the items are shared out.

    Attributes:
        seed: What all orders follow from.
        raters_per_item: How many raters judge each item; None for all of them.
        size: The number of raters that the items are shared among; must be known where `raters_per_item` is given.
    """

    seed: int
    raters_per_item: int | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            RatingError: They contradict one another.
        """
        if self.raters_per_item is None:
            return
        if self.size is None or not 1 <= self.raters_per_item <= self.size:
            raise RatingError(
                f"{self.raters_per_item} raters per item need a panel of at least as many raters, not {self.size or 0}"
            )


def rater_order(items: Sequence[ItemKey], panel: Panel, rater: int) -> list[int]:
    """The items of one rater, in the order in which this rater sees them.

    Samples are dealt into blocks of as many samples as there are methods. The rater goes through all blocks once a
    pass; in each pass a block shows every method once (a Latin square), and over the passes each of its samples is seen
    with every method. The square is turned by one for each rater, so that every method is equally often the first that
    is seen of a sample; the order of the blocks, and within a block of each pass, is the rater's own. Attention items
    are spread over the whole.

    Args:
        items: All items of the study.
        panel: How they are shared out.
        rater: The rater's number, from 0.

    Returns:
        Item numbers, each once.

    Raises:
        RatingError: The rater lies outside a panel of fixed size.
    """
    if panel.raters_per_item is not None and rater >= (panel.size or 0):
        raise RatingError(f"the panel has {panel.size} raters; rater {rater + 1} has nothing to judge")
    number_at = {(k.sample_id, k.method): k.number for k in items if k.expected is None}
    samples = sorted({sample for sample, _ in number_at})
    methods = sorted({method for _, method in number_at})
    size = len(methods)
    dealt = hashed_shuffle(range(len(samples)), panel.seed, "blocks")
    blocks = [dealt[i : i + size] for i in range(0, len(dealt), size)]
    own_blocks = hashed_shuffle(range(len(blocks)), panel.seed, "order of blocks", rater)
    order = []
    for turn in range(size):
        for b in own_blocks:
            square = hashed_shuffle(range(size), panel.seed, "square", b)
            for place in hashed_shuffle(range(len(blocks[b])), panel.seed, "within", rater, turn, b):
                method = square[(place + turn + rater) % size]
                number = number_at.get((samples[blocks[b][place]], methods[method]))
                if number is not None and _is_assigned(b * size + place + method, panel, rater):
                    order.append(number)
    attention = [k.number for k in items if k.expected is not None]
    return _spread(order, hashed_shuffle(attention, panel.seed, "attention", rater))


def _is_assigned(start: int, panel: Panel, rater: int) -> bool:
    """Whether a rater is among an item's raters: so many seats in a circle, beginning with the item's own.

    The seat moves on by one with every method and with every sample as dealt, so that each rater judges each method
    equally often.
    """
    if panel.raters_per_item is None or panel.size is None:
        return True
    return (rater - start) % panel.size < panel.raters_per_item


def _spread(order: list[int], planted: list[int]) -> list[int]:
    """Put one planted item at a place of its own into each of equally long stretches."""
    result = []
    for i, number in enumerate(planted):
        stretch = order[i * len(order) // len(planted) : (i + 1) * len(order) // len(planted)]
        place = int.from_bytes(hashlib.sha256(f"{number} {stretch}".encode()).digest()[:4]) % (len(stretch) + 1)
        result += [*stretch[:place], number, *stretch[place:]]
    return result if planted else order


def item_token(secret: str, rater: int, item: int) -> str:
    """The name by which one rater's page calls one item: 128 bits that tell nothing and differ between raters.

    Args:
        secret: The study's secret.
        rater: The rater's number.
        item: The item's number.

    Returns:
        32 hexadecimal digits.
    """
    return hmac.new(secret.encode(), f"{rater}/{item}".encode(), hashlib.sha256).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Sheet:
    """One rater's items in their order, under their blind names.

    Attributes:
        numbers: Item numbers, in the rater's order.
        tokens: The blind name of each, in the same order.
        place: Where in the order a blind name stands.
    """

    numbers: tuple[int, ...]
    tokens: tuple[str, ...]
    place: dict[str, int]


def make_sheet(items: Sequence[ItemKey], panel: Panel, secret: str, rater: int) -> Sheet:
    """Assign, order and name the items of one rater; the same arguments always give the same sheet."""
    numbers = tuple(rater_order(items, panel, rater))
    tokens = tuple(item_token(secret, rater, n) for n in numbers)
    return Sheet(numbers, tokens, {token: i for i, token in enumerate(tokens)})
