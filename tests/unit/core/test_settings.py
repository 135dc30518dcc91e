"""Settings for a studio that others reach: what is refused before it starts, and with which words."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from studio.core import InvalidInput, Settings

OIDC = {
    "oidc_issuer": "https://login.example.org",
    "oidc_client_id": "tandem",
    "oidc_client_secret": "s3cret",
    "public_url": "https://tandem.example.org",
}


def _settings(**given: object) -> Settings:
    return Settings(_env_file=None, **given)


def test_with_accounts_any_bind_is_allowed_and_without_it_says_what_to_do() -> None:
    settings = _settings(host="0.0.0.0")
    settings.require_loopback(has_accounts=True)
    with pytest.raises(InvalidInput, match="python -m studio users add NAME --role admin"):
        settings.require_loopback(has_accounts=False)
    _settings().require_loopback(has_accounts=False)


@pytest.mark.parametrize(
    "url",
    [
        "tandem.example.org",
        "ftp://x",
        "https://",
        "https://x/studio",
        "https://*",
        "https://u:p@x",
        "https://x?a=1",
    ],
)
@pytest.mark.parametrize("name", ["public_url", "cors_origins"])
def test_what_is_no_address_of_a_site(name: str, url: str) -> None:
    with pytest.raises(ValidationError, match="nothing after it"):
        _settings(**{name: url})


def test_addresses_are_kept_as_browsers_send_them() -> None:
    settings = _settings(
        public_url="https://Tandem.Example.org/",
        cors_origins=" https://A.example.org , http://b.example.org:8080/ ",
        trusted_hosts="Tandem.local, tandem.example.org",
    )
    assert settings.public_url == "https://tandem.example.org"
    assert settings.cross_origins == ("https://a.example.org", "http://b.example.org:8080")
    assert settings.host_names == ("tandem.local", "tandem.example.org")


@pytest.mark.parametrize("hosts", ["*", "*.example.org", "https://x", "a,b/c"])
def test_hosts_are_named_one_by_one(hosts: str) -> None:
    with pytest.raises(ValidationError, match="is no host name"):
        _settings(trusted_hosts=hosts)


@pytest.mark.parametrize("left_out", OIDC)
def test_a_provider_is_set_whole_or_not_at_all(left_out: str) -> None:
    with pytest.raises(ValidationError, match="set together"):
        _settings(**{**OIDC, left_out: ""})
    assert _settings(**OIDC).oidc
    assert not _settings().oidc


@pytest.mark.parametrize("issuer", ["http://login.example.org", "login.example.org", "https://"])
def test_a_provider_is_asked_over_tls(issuer: str) -> None:
    with pytest.raises(ValidationError, match="https"):
        _settings(**{**OIDC, "oidc_issuer": issuer})


@pytest.mark.parametrize("gpus", ["all", "0,0", "-1", "0,none", "0.5", "٣"])
def test_gpus_are_numbers_or_none(gpus: str) -> None:
    with pytest.raises(ValidationError, match="each GPU once"):
        _settings(gpus=gpus)


def test_gpus_are_kept_as_a_list() -> None:
    assert [_settings(gpus=text).gpus for text in ("", "None", " 1, 0 ")] == ["", "none", "1,0"]


def test_nobody_becomes_admin_by_logging_in() -> None:
    with pytest.raises(ValidationError, match="must not be an admin"):
        _settings(oidc_role="admin")


def test_the_client_secret_does_not_show() -> None:
    settings = _settings(**OIDC)
    assert "s3cret" not in repr(settings) + str(settings.model_dump())
    assert settings.oidc_client_secret.get_secret_value() == "s3cret"


def test_certificate_and_key_go_together_and_make_it_https() -> None:
    with pytest.raises(ValidationError, match="set together"):
        _settings(tls_cert="cert.pem")
    assert _settings(tls_cert="cert.pem", tls_key="key.pem").https
    assert _settings(public_url="https://x.example.org").https
    assert not _settings(public_url="http://x.example.org", tls_cert="", tls_key="").https


@pytest.mark.parametrize("hours", [0, -1, 721, "long"])
def test_a_session_has_an_end(hours: object) -> None:
    with pytest.raises(ValidationError):
        _settings(session_hours=hours)


def test_every_bad_setting_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STUDIO_PORT", "-1")
    monkeypatch.setenv("STUDIO_TRUSTED_HOSTS", "*")
    with pytest.raises(InvalidInput) as raised:
        Settings.load()
    assert [line.partition(":")[0] for line in raised.value.details] == [
        "STUDIO_PORT",
        "STUDIO_TRUSTED_HOSTS",
    ]


def test_settings_that_do_not_go_together_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STUDIO_TLS_CERT", "cert.pem")
    with pytest.raises(InvalidInput, match="STUDIO_TLS_CERT and STUDIO_TLS_KEY"):
        Settings.load()
