import re

import pytest

from benchmark.published import METRICS, PublishedError, parse_published, published_blocks, published_rows

TABLE_1 = {
    "InstructPix2Pix": ("21.576 0.721 0.089 22.762 0.537", "24.234 0.707 0.083 19.413 0.344"),
    "MagicBrush": ("18.120 0.68 0.143 22.620 0.290", "22.101 0.694 0.113 19.755 0.283"),
    "InstructDiffusion": ("23.258 0.743 0.067 23.080 0.697", "21.453 0.666 0.117 19.523 0.483"),
    "SmartEdit-7B": ("22.049 0.731 0.087 23.611 0.712", "25.258 0.742 0.055 20.950 0.789"),
    "SmartEdit-13B": ("23.596 0.751 0.068 23.536 0.771", "25.757 0.747 0.051 20.777 0.817"),
}
ABLATIONS = {
    "smartedit-table-2": [
        "20.975 0.713 0.108 23.36 0.695 23.848 0.725 0.074 20.33 0.694",
        "19.557 0.692 0.126 23.66 0.692 23.508 0.716 0.081 20.17 0.722",
        "22.049 0.731 0.087 23.61 0.712 25.258 0.742 0.055 20.95 0.789",
    ],
    "smartedit-table-3": [
        "17.568 0.664 0.171 22.79 0.201 22.400 0.706 0.102 19.22 0.233",
        "18.960 0.690 0.143 22.83 0.361 21.774 0.693 0.116 19.82 0.311",
        "19.562 0.702 0.111 22.32 0.440 23.595 0.715 0.079 20.43 0.567",
        "22.049 0.731 0.087 23.61 0.712 25.258 0.742 0.055 20.95 0.789",
    ],
}


def digits(block: str, method: str, scenario: str) -> str:
    (row,) = [r for r in published_blocks()[block] if (r.method, r.scenario) == (method, scenario)]
    return " ".join(getattr(row, m).text for m in METRICS if getattr(row, m))


@pytest.mark.parametrize("method", TABLE_1)
def test_table_1_stands_digit_for_digit(method: str) -> None:
    assert digits("smartedit-table-1", method, "understanding") == TABLE_1[method][0]
    assert digits("smartedit-table-1", method, "reasoning") == TABLE_1[method][1]


@pytest.mark.parametrize("block", ABLATIONS)
def test_the_ablations_stand_digit_for_digit(block: str) -> None:
    methods = list(dict.fromkeys(r.method for r in published_blocks()[block]))
    rows = [f"{digits(block, m, 'understanding')} {digits(block, m, 'reasoning')}" for m in methods]
    assert rows == ABLATIONS[block]


def test_later_numbers() -> None:
    assert digits("ade-cot", "BAGEL, ADE-CoT (N = 32)", "overall") == "27.849 0.045 23.399"
    assert digits("got", "SmartEdit-7B", "overall") == "0.572"
    assert digits("hidream", "HiDream-E1", "overall") == "7.54"
    assert digits("viescore", "InsightEdit + AdvancedEdit", "reasoning") == "0.947"
    assert {r.samples for r in published_blocks()["hidream"]} == {197}


def test_what_was_not_verified_and_what_leaks_is_said() -> None:
    leaking = [r for r in published_rows() if "label-leak" in r.tags]
    assert {r.method for r in leaking} == {"SmartFreeEdit"}
    assert {r.verified for r in leaking} == {"note"}
    bound = next(r.psnr for r in leaking if r.psnr)
    assert (bound.value, bound.at_least, bound.shown) == (28.0, True, "> 28")


def test_every_row_names_its_source() -> None:
    assert all(re.search(r"\d", r.source) or "README" in r.source for r in published_rows())


HEADER = (
    "block,method,scenario,psnr,ssim,lpips,clip_score,ins_align,judge_score,protocol,aggregation,training,tags,samples,"
    "source,verified,remark\n"
)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("b,m,sideways,1,,,,,,p,a,zero-shot,,,s,paper,\n", r"line 2, scenario"),
        ("b,m,overall,many,,,,,,p,a,zero-shot,,,s,paper,\n", r"line 2, psnr"),
        ("b,m,overall,,1.5,,,,,p,a,zero-shot,,,s,paper,\n", r"line 2.*ssim = 1.5 lies outside"),
        ("b,m,overall,,,,,,,p,a,zero-shot,,,s,paper,\n", r"line 2.*without any number"),
        ("b,m,overall,,,,,,3,p,a,zero-shot,,,s,paper,\n", r"line 2.*judge"),
        ("b,m,overall,1,,,,,,p,a,zero-shot,,,,paper,\n", r"line 2, source"),
        ("b,m,overall,1,,,,,,p,a,zero-shot,,,s,paper,\n" * 2, r"two rows for b / m / overall"),
        (
            "b,m,overall,1,,,,,,p,a,zero-shot,,,s,paper,\nb,n,overall,1,,,,,,q,a,zero-shot,,,s,paper,\n",
            r"block b mixes 'p' and 'q'",
        ),
    ],
)
def test_wrong_tables_are_refused(lines: str, message: str) -> None:
    with pytest.raises(PublishedError, match=message):
        parse_published(HEADER + lines)
