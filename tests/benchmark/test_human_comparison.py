import math

import numpy as np
import pytest

from benchmark.comparison import FLIPS, holm, permutation_p
from benchmark.human_comparison import compare_ratings
from reason_edit.rating.ins_align import build_cube
from reason_edit.rating.study import Answer, Rating
from reason_edit.schema import Category
from smartedit.seeding import numpy_generator


def study(
    shares: dict[str, float], count: int = 60, seed: int = 0, skip: str = ""
) -> tuple[list[Rating], dict[str, Category]]:
    generator = np.random.default_rng(seed)
    samples = {f"color/{i:03d}": Category.COLOR for i in range(count)}
    samples |= {f"reasoning/{i:03d}": Category.REASONING for i in range(8)}
    ratings = [
        Rating(
            method=method,
            sample_id=sample,
            rater=rater,
            answer=Answer.ALIGNED if generator.random() < share else Answer.NOT_ALIGNED,
            seconds=1.0,
            edited_sha256="0" * 64,
        )
        for method, share in shares.items()
        for sample in samples
        if not (method == skip and sample == "color/000")
        for rater in ("ann", "bo", "cy")
    ]
    return ratings, samples


def test_p_and_holm_are_those_of_the_projects_own_test() -> None:
    ratings, samples = study({"a": 0.5, "b": 0.62, "c": 0.7}, skip="c")
    cube = build_cube(ratings, samples)
    found = compare_ratings(cube, samples, resamples=200)
    for group, where in (("understanding", slice(0, 60)), ("reasoning", slice(60, 68))):
        tests = [t for t in found if t.group == group]
        bits = numpy_generator("rating flips", group).integers(
            0, 2, size=(FLIPS, 60 if group == "understanding" else 8), dtype=np.int8
        )
        signs = (2 * bits - 1).astype(np.float64)
        for test in tests:
            a, b = (cube.sample_means[cube.methods.index(m), where] for m in (test.first, test.second))
            used = np.isfinite(a - b)
            assert test.p == permutation_p((a - b)[used], signs[:, used])
            assert test.difference == pytest.approx((a - b)[used].mean())
        assert [t.p_holm for t in tests] == holm([t.p for t in tests])


def test_unequal_coverage_has_a_test_but_no_interval() -> None:
    ratings, samples = study({"a": 0.3, "b": 0.9}, skip="b")
    overall = compare_ratings(build_cube(ratings, samples), samples, resamples=200)[-1]
    assert (overall.group, overall.pairs, overall.total) == ("overall", 67, 68)
    assert overall.p < 0.001
    assert math.isnan(overall.low)


def test_the_interval_of_a_difference_holds_it_and_is_no_wider_than_both_together() -> None:
    ratings, samples = study({"a": 0.3, "b": 0.9})
    overall = compare_ratings(build_cube(ratings, samples), samples)[-1]
    assert overall.low < overall.difference < overall.high < 0
    assert overall.high - overall.low < 0.4


def test_one_method_has_nothing_to_be_compared_with() -> None:
    ratings, samples = study({"a": 0.5})
    assert compare_ratings(build_cube(ratings, samples), samples, resamples=100) == []
