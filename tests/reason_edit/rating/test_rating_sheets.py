import itertools
from collections import Counter

import pytest

from reason_edit.rating.sheets import Panel, item_token, make_sheet, rater_order
from reason_edit.rating.study import Answer, ItemKey, RatingError, hashed_shuffle
from reason_edit.schema import Category


def keys(
    samples: int, methods: int, planted: int = 0, missing: frozenset[tuple[int, int]] = frozenset()
) -> list[ItemKey]:
    pairs = [(s, m, None) for s in range(samples) for m in range(methods) if (s, m) not in missing]
    pairs += [(s, 99, Answer.NOT_ALIGNED) for s in range(planted)]
    return [
        ItemKey(
            number=n,
            method=f"m{m}",
            sample_id=f"color/{s:03d}",
            category=Category.COLOR,
            instruction="paint it",
            expected=expected,
            source_sha256="a",
            edited_sha256="b",
        )
        for n, (s, m, expected) in enumerate(pairs)
    ]


def test_every_rater_sees_every_item_once_in_an_order_of_their_own() -> None:
    items = keys(11, 4, planted=3, missing=frozenset({(2, 1), (7, 3)}))
    orders = [rater_order(items, Panel(seed=5), r) for r in range(5)]
    for order in orders:
        assert sorted(order) == list(range(len(items)))
    assert len({tuple(o) for o in orders}) == 5
    assert orders[2] == rater_order(items, Panel(seed=5), 2)
    assert orders[2] != rater_order(items, Panel(seed=6), 2)


def test_methods_are_balanced_within_a_sheet_and_over_raters() -> None:
    items = keys(12, 4)
    method = {k.number: k.method for k in items}
    sample = {k.number: k.sample_id for k in items}
    first = Counter()
    for rater in range(4):
        order = rater_order(items, Panel(seed=1), rater)
        for block in (
            itertools.batched(order, 4) if hasattr(itertools, "batched") else zip(*[iter(order)] * 4, strict=True)
        ):
            assert len({method[n] for n in block}) == 4
            assert len({sample[n] for n in block}) == 4
        seen: set[str] = set()
        for n in order:
            if sample[n] not in seen:
                seen.add(sample[n])
                first[sample[n], method[n]] += 1
    # With as many raters as methods each method is the first that is seen of a sample exactly once.
    assert set(first.values()) == {1}
    assert len(first) == 12 * 4


def test_the_order_of_methods_has_no_period_that_gives_them_away() -> None:
    items = keys(40, 4)
    method = {k.number: k.method for k in items}
    order = [method[n] for n in rater_order(items, Panel(seed=3), 0)]
    same = sum(a == b for a, b in itertools.pairwise(order[::4]))
    assert 0 < same < len(order[::4]) - 1


@pytest.mark.parametrize(("raters", "per_item"), [(4, 1), (4, 3), (5, 2), (3, 3)])
def test_a_panel_shares_the_items_evenly(raters: int, per_item: int) -> None:
    items = keys(20, 4, planted=2)
    panel = Panel(seed=2, raters_per_item=per_item, size=raters)
    orders = [rater_order(items, panel, r) for r in range(raters)]
    counts = Counter(n for order in orders for n in order)
    assert {counts[k.number] for k in items if k.expected is None} == {per_item}
    assert {counts[k.number] for k in items if k.expected is not None} == {raters}
    for order in orders:
        per_method = Counter(items[n].method for n in order if items[n].expected is None)
        assert max(per_method.values()) - min(per_method.values()) <= 1
    with pytest.raises(RatingError, match="nothing to judge"):
        rater_order(items, panel, raters)


def test_a_panel_needs_enough_raters() -> None:
    with pytest.raises(RatingError, match="3 raters per item"):
        Panel(seed=0, raters_per_item=3, size=2)


def test_attention_items_are_spread() -> None:
    items = keys(30, 2, planted=6)
    order = rater_order(items, Panel(seed=1), 0)
    places = [i for i, n in enumerate(order) if items[n].expected is not None]
    assert len(places) == 6
    assert all(i * 11 - 1 <= p <= (i + 1) * 11 for i, p in enumerate(places))


def test_tokens_say_nothing_and_differ_between_raters() -> None:
    items = keys(5, 3)
    sheets = [make_sheet(items, Panel(seed=0), "secret", r) for r in range(3)]
    tokens = [t for s in sheets for t in s.tokens]
    assert len(set(tokens)) == 45
    assert all(len(t) == 32 for t in tokens)
    assert item_token("other secret", 0, 0) != item_token("secret", 0, 0)
    assert sheets[1].numbers[sheets[1].place[sheets[1].tokens[4]]] == sheets[1].numbers[4]


def test_an_order_is_the_same_on_every_machine() -> None:
    assert hashed_shuffle(range(8), 7, "blocks") == [7, 4, 5, 6, 3, 2, 0, 1]
