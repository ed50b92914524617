from pathlib import Path

import pytest

from smartedit.config.loading import ConfigError, load_tree, read_toml
from smartedit.config.sources import ManifestConfig
from smartedit.config.synthesis import SynthesisConfig


def _write(folder: Path, text: str) -> Path:
    path = folder / "sources.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_unknown_key_is_named_by_the_path_that_the_user_wrote(tmp_path: Path) -> None:
    path = _write(tmp_path, '[sources.mine]\nkind = "llava"\nroot = "."\nfoo = 1\n')

    with pytest.raises(ConfigError, match=r"sources\.mine\.foo: "):
        load_tree(ManifestConfig, source=path)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path, '[sources.mine]\nkind = "llava"\n')

    with pytest.raises(ConfigError, match=r"sources\.mine\.\w+: Field required"):
        load_tree(ManifestConfig, source=path)


def test_a_file_that_is_no_utf_8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sources.toml"
    path.write_bytes('root = "Ä"'.encode("latin-1"))

    with pytest.raises(ConfigError, match=r"sources\.toml: TOML is UTF-8"):
        read_toml(path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("grounder.nam=x", r"grounder\.nam: there is no such key, do you mean name\? \(there are .*box_threshold"),
        ("rulez.x=1", r"rulez: there is no such key, do you mean rules\? \(there are draws, grounder"),
        ("selection.quotas.foo=2", r"selection\.quotas\.foo: there is no such key \(there are color, left_right"),
        ("pictures_per_shard=few", r"pictures_per_shard: Input should be a valid integer"),
    ],
)
def test_an_unknown_key_is_told_with_those_that_there_are(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_tree(SynthesisConfig, overrides=[override])


def test_keys_of_one_of_several_types_are_found() -> None:
    overrides = ["sources.mine.kind=llava", "sources.mine.root=.", "sources.mine.licens=x"]
    with pytest.raises(
        ConfigError, match=r"sources\.mine\.licens: there is no such key, do you mean license\? \((?!.*split_by)"
    ):
        load_tree(ManifestConfig, overrides=overrides)
