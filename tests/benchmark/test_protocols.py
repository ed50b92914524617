"""Protocols are found by name, refused by name, and differ where they say so."""

import json

import pytest

from benchmark.protocols import METRICS, PROTOCOLS, ProtocolError, protocol_named


def test_names_are_versioned_and_are_their_own_keys() -> None:
    assert list(PROTOCOLS) == ["smartedit-v1", "smartedit-v1-positional", "strict-v1", "miniature-v1"]
    assert all(name == protocol.name for name, protocol in PROTOCOLS.items())
    assert len({json.loads(p.definition())["name"] for p in PROTOCOLS.values()}) == len(PROTOCOLS)


def test_metrics_are_named_as_in_the_contract() -> None:
    assert list(METRICS)[:6] == [
        "background_psnr",
        "background_ssim",
        "background_lpips",
        "background_mse",
        "clip_score",
        "background_psnr_registered",
    ]


def test_positional_pairing_is_a_protocol_of_its_own() -> None:
    protocol = protocol_named("smartedit-v1", "positional")
    assert (protocol.name, protocol.pairing) == ("smartedit-v1-positional", "positional")
    assert protocol_named("smartedit-v1-positional") is protocol
    assert protocol_named("smartedit-v1").pairing == "id"


def test_what_is_not_there_is_refused_with_what_is() -> None:
    with pytest.raises(ProtocolError, match="unknown protocol 'smartedit-v2'; there are smartedit-v1, "):
        protocol_named("smartedit-v2")
    with pytest.raises(ProtocolError, match="strict-v1 pairs masks by id only"):
        protocol_named("strict-v1", "positional")
    with pytest.raises(ProtocolError, match="unknown pairing 'random'"):
        protocol_named("smartedit-v1", "random")  # type: ignore[arg-type]


def test_the_miniature_protocol_names_no_network_while_none_ships() -> None:
    assert PROTOCOLS["miniature-v1"].clip_model == "clip-miniature"
    assert PROTOCOLS["miniature-v1"].lpips_backbone == "squeezenet-miniature"
    assert PROTOCOLS["miniature-v1"].resolution is None
