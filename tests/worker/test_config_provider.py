"""The keys of `provider`, as they reach the providers."""

import dataclasses
from pathlib import Path

import pytest

from model_files.settings import (
    HttpSettings,
    HubSettings,
    ModelCacheSettings,
    ProviderSettings,
    S3Settings,
    TlsSettings,
)
from worker.config import ConfigError, parse_provider, parse_worker
from worker.config_provider import SECTIONS, ProviderConfig


def settings_of(raw: dict) -> ProviderSettings:
    provider, warnings = parse_provider(raw, "provider")
    assert warnings == []
    return provider.settings


def test_the_defaults_are_those_of_the_providers() -> None:
    assert settings_of({}) == ProviderSettings()
    assert parse_worker({}, 3)[0].provider == ProviderConfig()


def test_every_key_reaches_the_settings() -> None:
    raw = {
        "default": "modelcache",
        "cacheDir": "/c",
        "cacheBytes": "1e9",
        "maxFileBytes": 5,
        "retryForS": 7,
        "stallS": "0.5",
        "modelcache": {
            "target": "unix:///run/models",
            "tls": {"ca": "ca.pem", "cert": "c.pem", "key": "k.pem", "serverName": "models"},
        },
        "http": {"headers": {"Authorization": "x"}},
        "s3": {"endpoint": "http://s3", "region": "eu", "anonymous": True, "pathStyle": True},
        "hf": {"endpoint": "http://hub"},
    }
    tls = TlsSettings("ca.pem", "c.pem", "k.pem", "models")
    expected = ProviderSettings(
        "modelcache",
        Path("/c"),
        10**9,
        5,
        7.0,
        0.5,
        ModelCacheSettings("unix:///run/models", tls),
        HttpSettings({"Authorization": "x"}),
        S3Settings("http://s3", "eu", anonymous=True, path_style=True),
        HubSettings("http://hub"),
    )
    assert settings_of(raw) == expected


def test_every_field_of_the_settings_has_its_key() -> None:
    """What a source can be set to, a host can set."""
    pairs = {
        "provider": ProviderSettings,
        "modelcache": ModelCacheSettings,
        "tls": TlsSettings,
        "http": HttpSettings,
        "s3": S3Settings,
        "hf": HubSettings,
    }
    assert pairs.keys() == SECTIONS.keys()
    for name, settings in pairs.items():
        assert len(dataclasses.fields(settings)) == len(dataclasses.fields(SECTIONS[name])), name


def test_an_empty_object_of_tls_is_tls() -> None:
    assert settings_of({"modelcache": {"tls": {}}}).modelcache.tls == TlsSettings()


def test_a_home_in_the_cache_s_folder_is_found() -> None:
    assert settings_of({"cacheDir": "~/c"}).cache_dir == Path("~/c").expanduser()


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ([], "provider: expected an object"),
        ({"cacheBytes": -1}, "provider.cacheBytes: expected a whole number"),
        ({"s3": {"anonymous": "yes"}}, "provider.s3.anonymous: expected true or false"),
        ({"modelcache": {"tls": {"ca": 5}}}, "provider.modelcache.tls.ca: expected a string, got 5"),
        ({"http": {"headers": {"Authorization": 5}}}, "provider.http.headers: expected .*, got dict$"),
    ],
)
def test_what_cannot_be_read_is_named_by_its_path(raw: object, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        parse_provider(raw, "provider")


def test_secrets_are_in_no_representation() -> None:
    config = parse_worker({"provider": {"http": {"headers": {"Authorization": "s3cret"}}}}, 3)[0]
    assert "s3cret" not in repr(config)
    assert "s3cret" not in repr(config.provider.settings)
