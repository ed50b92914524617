"""Splicing pictures into rows."""

import pytest
import torch

from smartedit.model.sequences import IGNORED, IMAGE_PATCH, SequenceError, Sequences, pad, splice

IMG = range(100, 103)


def test_the_first_img_token_makes_place_for_the_patches() -> None:
    rows = pad([[1, 100, 7, 100, 101, 102, 2], [1, 5, 100, 2]], 0)
    targets = pad([[IGNORED] * 3 + [100, 101, 102, 2], [IGNORED] * 3 + [2]], IGNORED)
    spliced = splice(rows, img_tokens=IMG, pad_id=0, num_patches=3, targets=targets)
    p = IMAGE_PATCH
    assert spliced.input_ids.tolist() == [[1, p, p, p, 7, 100, 101, 102, 2], [1, 5, p, p, p, 2, 0, 0, 0]]
    assert spliced.attention_mask.int().tolist() == [[1] * 9, [1] * 6 + [0] * 3]
    assert spliced.img_mask.int().tolist() == [[0, 0, 0, 0, 0, 1, 1, 1, 0], [0] * 9]
    assert spliced.targets.tolist() == [[IGNORED] * 5 + [100, 101, 102, 2], [IGNORED] * 5 + [2] + [IGNORED] * 3]


def test_released_length_has_one_more_padding() -> None:
    rows = torch.tensor([[1, 100, 7, 2]])
    short, long = (splice(rows, img_tokens=IMG, pad_id=0, num_patches=3, released_length=r) for r in (False, True))
    assert long.input_ids.tolist() == [[*short.input_ids[0].tolist(), 0]]
    assert not long.attention_mask[0, -1]


def test_row_without_a_place_is_named() -> None:
    with pytest.raises(SequenceError, match="row 1: no token"):
        splice(torch.tensor([[1, 100], [1, 2]]), img_tokens=IMG, pad_id=0, num_patches=3)


def test_rows_end_behind_their_last_token_though_one_inside_is_masked() -> None:
    mask = torch.tensor([[True, False, True, True, False, False], [True, True, False, False, False, False]])
    ids = torch.arange(12).view(2, 6)
    sequences = Sequences(input_ids=ids, attention_mask=mask, img_mask=mask, targets=ids)
    assert sequences.lengths.tolist() == [4, 2]
    assert torch.equal(sequences.rows(torch.tensor([0])).input_ids, ids[:1, :4])
    assert torch.equal(sequences.rows(torch.tensor([1])).input_ids, ids[1:, :2])
