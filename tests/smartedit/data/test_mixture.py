from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from smartedit.config.loading import ConfigError
from smartedit.config.mixture import Draw, MixtureConfig
from smartedit.data.mixture import Mixture, MixtureError, load_mixture, mixture_presets, resolve_weights

SIZES = {
    "refcoco": 42_404,
    "grefcoco": 200_000,
    "cocostuff": 118_287,
    "reasonseg": 239,
    "instructpix2pix": 313_010,
    "magicbrush": 8_807,
    "llava": 157_712,
    "synthetic": 476,
}
"""Sizes of the real data sets; the number of gRefCOCO's references is an assumption."""


def authors_formula(n: dict[str, int]) -> dict[str, float]:
    """The seven nested draws of the authors' Merge_Dataset, written out."""
    editing = n["instructpix2pix"] + n["magicbrush"] + n["synthetic"]
    segmentation = n["refcoco"] + n["grefcoco"] + n["cocostuff"] + n["reasonseg"]
    total = editing + segmentation + n["llava"]
    rest = (1 - 0.15) * (1 - 0.10)
    p_llava = n["llava"] / (total - n["synthetic"] - n["reasonseg"])
    p_editing = editing / (editing + segmentation)
    p_stuff = n["cocostuff"] / segmentation
    p_refcoco = n["refcoco"] / (n["refcoco"] + n["grefcoco"])
    return {
        "synthetic": 0.15,
        "reasonseg": 0.85 * 0.10,
        "llava": rest * p_llava,
        "magicbrush": rest * (1 - p_llava) * p_editing * 0.5,
        "instructpix2pix": rest * (1 - p_llava) * p_editing * 0.5,
        "cocostuff": rest * (1 - p_llava) * (1 - p_editing) * p_stuff,
        "refcoco": rest * (1 - p_llava) * (1 - p_editing) * (1 - p_stuff) * p_refcoco,
        "grefcoco": rest * (1 - p_llava) * (1 - p_editing) * (1 - p_stuff) * (1 - p_refcoco),
    }


@pytest.mark.parametrize("sizes", [SIZES, {name: 10 + 7 * i for i, name in enumerate(SIZES)}])
def test_the_paper_preset_is_the_authors_nested_draws(sizes: dict[str, int]) -> None:
    shares = resolve_weights(load_mixture("smartedit-paper"), sizes)
    assert shares == pytest.approx(authors_formula(sizes), rel=1e-12)
    assert sum(shares.values()) == pytest.approx(1, rel=1e-12)


def test_the_shares_at_real_sizes() -> None:
    shares = resolve_weights(load_mixture("smartedit-paper"), SIZES)
    rounded = {name: round(share, 3) for name, share in shares.items()}
    assert rounded == {
        "synthetic": 0.15,
        "reasonseg": 0.085,
        "llava": 0.144,
        "magicbrush": 0.147,
        "instructpix2pix": 0.147,
        "cocostuff": 0.108,
        "refcoco": 0.039,
        "grefcoco": 0.182,
    }


def test_the_authors_draws_simulated() -> None:
    """Draw as their loader does, number by number, and compare the counts with the preset's shares."""
    rng = np.random.default_rng(5)
    draws = 200_000
    u = rng.random((draws, 7))
    n = SIZES
    editing = n["instructpix2pix"] + n["magicbrush"] + n["synthetic"]
    segmentation = n["refcoco"] + n["grefcoco"] + n["cocostuff"] + n["reasonseg"]
    asked = [
        ("synthetic", u[:, 0] < 0.15),
        ("reasonseg", u[:, 1] < 0.10),
        ("llava", u[:, 2] < n["llava"] / (editing + segmentation + n["llava"] - n["synthetic"] - n["reasonseg"])),
        ("editing", u[:, 3] < editing / (editing + segmentation)),
        ("cocostuff", u[:, 5] < n["cocostuff"] / segmentation),
        ("refcoco", u[:, 6] < n["refcoco"] / (n["refcoco"] + n["grefcoco"])),
    ]
    drawn = np.select([t for _, t in asked], [n for n, _ in asked], default="grefcoco").astype(object)
    drawn[drawn == "editing"] = np.where(u[drawn == "editing", 4] < 0.5, "magicbrush", "instructpix2pix")
    shares = resolve_weights(load_mixture("smartedit-paper"), SIZES)
    counts = [int((drawn == name).sum()) for name in shares]
    assert stats.chisquare(counts, [draws * share for share in shares.values()]).pvalue > 1e-4


def test_missing_sources_leave_their_draw_out() -> None:
    sizes = {name: size for name, size in SIZES.items() if name not in ("synthetic", "llava")}
    shares = resolve_weights(load_mixture("smartedit-paper"), sizes)
    assert set(shares) == set(sizes) and sum(shares.values()) == pytest.approx(1)
    assert shares["reasonseg"] == pytest.approx(0.10)
    assert resolve_weights(load_mixture("smartedit-paper"), {"cocostuff": 5, "synthetic": 5}) == pytest.approx(
        {"cocostuff": 0.85, "synthetic": 0.15}
    )


def mixture(seed: int = 0) -> Mixture:
    sizes = {"a": 7, "unused": 100, "b": 1000, "c": 3}
    return Mixture.over(sizes, MixtureConfig(weights={"a": 1, "b": 2, "c": 1}, seed=seed))


def test_a_position_means_one_row_however_it_is_asked_for() -> None:
    order = mixture()
    whole = order.rows(range(5000))
    assert np.array_equal(order.rows(range(4000, 5000)), whole[4000:])
    shuffled = np.random.default_rng(0).permutation(5000)
    assert np.array_equal(order.rows(shuffled), whole[shuffled])
    workers = [order.rows(range(start, 5000, 3)) for start in range(3)]
    assert all(np.array_equal(rows, whole[start::3]) for start, rows in enumerate(workers))
    assert int(order.rows([4321])[0]) == whole[4321]
    assert order.rows([2**62]).shape == (1,)


def test_the_order_is_the_same_in_every_release() -> None:
    assert mixture().rows(range(12)).tolist() == FIRST_ROWS
    assert mixture(seed=1).rows(range(12)).tolist() != FIRST_ROWS


FIRST_ROWS = [1109, 360, 877, 565, 948, 4, 1108, 312, 4, 1108, 4, 1109]


def test_sources_are_drawn_by_their_shares_and_rows_alike() -> None:
    order = mixture()
    count = 60_000
    sources, rows = order.sources(range(count)), order.rows(range(count))
    assert stats.chisquare(np.bincount(sources), [count / 4, count / 2, count / 4]).pvalue > 1e-4
    assert rows.max() < 1110 and not ((rows >= 7) & (rows < 107)).any()
    in_b = np.bincount(rows[sources == 1] - 107, minlength=1000)
    assert stats.chisquare(in_b).pvalue > 1e-4
    assert set(rows[sources == 0].tolist()) == set(range(7)) and set(rows[sources == 2].tolist()) == {1107, 1108, 1109}
    pairs = np.corrcoef(rows[:-1], rows[1:])[0, 1]
    assert abs(pairs) < 0.02


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (MixtureConfig(), "either weights or draws"),
        (MixtureConfig(weights={"a": 1}, draws=[Draw(take=["a"])]), "either weights or draws"),
        (MixtureConfig(weights={"x": 1}), "weights for x, but the manifest holds a, b"),
        (MixtureConfig(weights={"a": -1}), "not negative"),
        (MixtureConfig(weights={"a": float("nan")}), "not negative"),
        (MixtureConfig(weights={"a": 0}), "nothing to draw"),
        (MixtureConfig(weights={"b": 1}), "sources without rows: b"),
        (MixtureConfig(draws=[Draw(take=["x"])]), "nothing to draw"),
        (MixtureConfig(draws=[Draw(take=["a"]), Draw(take=["a"])]), "needs either probability"),
        (MixtureConfig(draws=[Draw(take=["a"], probability=2), Draw(take=["a"])]), "has the probability 2"),
    ],
)
def test_mixtures_that_do_not_fit(config: MixtureConfig, match: str) -> None:
    with pytest.raises(MixtureError, match=match):
        resolve_weights(config, {"a": 3, "b": 0})


def test_mixtures_by_name_and_file(tmp_path: Path) -> None:
    assert mixture_presets() == ["miniature", "smartedit-paper"]
    with pytest.raises(ConfigError, match=r"no mixture 'x'; presets are miniature, smartedit-paper"):
        load_mixture("x")
    (tmp_path / "m.toml").write_text("seed = 3\n[weights]\na = 1.5\n")
    assert load_mixture(tmp_path / "m.toml") == MixtureConfig(weights={"a": 1.5}, seed=3)
    (tmp_path / "m.toml").write_text('[[draws]]\ntake = ["a"]\nprob = 1\n')
    with pytest.raises(ConfigError, match=r"draws\.0\.prob"):
        load_mixture(tmp_path / "m.toml")
