"""The file of webhooks: what it takes, what it refuses, and which lines each receiver wants."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from api.notify.notices import Notice
from api.notify.subscriptions import Format, load_webhooks
from core.errors import InputError
from core.grades import Grade
from core.incidents import Severity

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()


def write(folder: Path, *lines: str) -> Path:
    (folder / "secret").write_text(SECRET + "\n")
    path = folder / "webhooks.yaml"
    path.write_text("webhooks:\n" + "\n".join(lines))
    return path


def a_webhook(*more: str, url: str = "https://example.org/hook", secret: str | None = None) -> str:
    first = f"  - name: fire\n    url: {url}\n    {secret or 'secret_file: secret'}"
    return "\n".join([first, *("    " + one for one in more)])


def a_notice(**more: Any) -> Notice:
    given = {
        "sequence": 1, "change": "opened", "at": "2026-01-01T00:00:00.000Z", "incident_id": "i",
        "version": 1, "scenario": "gas-leak", "severity": "severe",
        "departments": ("社区与燃气公司", "Community and gas supplier"),
        "area_code": "370202001002", "is_open": True, "payload": b"{}",
    }  # fmt: skip
    return Notice(**(given | more))


def test_no_file_is_nobody(tmp_path: Path) -> None:
    assert load_webhooks(tmp_path / "webhooks.yaml") == ()


def test_a_whole_webhook(tmp_path: Path) -> None:
    [one] = load_webhooks(
        write(
            tmp_path,
            a_webhook(
                'areas: ["370202"]',
                "scenarios: [gas-leak]",
                "severity: severe",
                "departments: [Community]",
                "changes: [opened, transition]",
                "format: cloudevents-binary",
                "grade: public",
                "timeout: 3s",
                "concurrency: 2",
                "disable_after: 12h",
            ),
        )
    )
    assert (one.subscriber, one.severity, one.format) == (
        "webhook/fire", Severity.SEVERE, Format.BINARY,
    )  # fmt: skip
    assert (one.grade, one.timeout_s, one.disable_after_s) == (Grade.PUBLIC, 3.0, 43_200.0)
    assert one.keys == (b"s" * 32,)
    assert "sss" not in repr(one)


def test_a_secret_may_come_from_the_environment_and_be_two(tmp_path: Path) -> None:
    other = "whsec_" + base64.b64encode(b"t" * 24).decode()
    path = write(tmp_path, a_webhook(secret="secret_env: HOOK"))
    [one] = load_webhooks(path, {"HOOK": f"{SECRET} {other}"})
    assert one.keys == (b"s" * 32, b"t" * 24)


@pytest.mark.parametrize(
    ("webhook", "complaint"),
    [
        (a_webhook("colour: red"), r"line 5: unknown key 'colour'; accepted: name, url"),
        (a_webhook("severity: bad"), r"line 5: Invalid enum value 'bad'"),
        (a_webhook("changes: [closed]"), r"Invalid enum value 'closed'"),
        (a_webhook("grade: secret"), r"grade: one of public, internal, sensitive was wanted"),
        (a_webhook("format: cap", "grade: public"), r"grade: internal was wanted with format cap"),
        (a_webhook("timeout: soon"), r"timeout: a time such as 10s was wanted, got 'soon'"),
        (a_webhook("timeout: 2h"), r"timeout: at most 60 s was wanted"),
        (a_webhook("concurrency: 99"), r"concurrency: 1 to 16 was wanted, got 99"),
        (a_webhook(url="ftp://example.org"), r"url: https://host/path .* got 'ftp://example.org'"),
        (a_webhook(url="https://u:p@example.org"), r"url: https://host/path"),
        (a_webhook(url="https://example.org:99999/"), r"url: https://host/path"),
        (a_webhook(url="https://例子.cn/"), r"url: https://host/path"),
        (a_webhook(secret="secret_file: missing"), r"secret_file .*missing: not readable"),
        (a_webhook(secret="severity: minor"), r"one of secret_file and secret_env was wanted"),
        (a_webhook() + "\n" + a_webhook(), r"webhook 'fire' comes twice"),
        (a_webhook().replace("fire", "Fire!"), r"name: up to 40 of a to z"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, webhook: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        load_webhooks(write(tmp_path, webhook))


@pytest.mark.parametrize("secret", ["", "c2VjcmV0", "whsec_c2hvcnQ=", "whsec_%%%", "hunter2 " * 4])
def test_a_bad_secret_is_refused_and_not_told(tmp_path: Path, secret: str) -> None:
    path = write(tmp_path, a_webhook())
    (tmp_path / "secret").write_text(secret)
    with pytest.raises(InputError) as caught:
        load_webhooks(path)
    assert not secret.strip() or secret.strip() not in str(caught.value)


@pytest.mark.parametrize(
    ("wish", "notice", "wanted"),
    [
        ("areas: []", a_notice(area_code=""), True),
        ('areas: ["370202"]', a_notice(), True),
        ('areas: ["370203", "370202001"]', a_notice(), True),
        ('areas: ["370203"]', a_notice(), False),
        ('areas: ["370202"]', a_notice(area_code=""), False),
        ("scenarios: [gas-leak, smoke-alarm]", a_notice(), True),
        ("scenarios: [smoke-alarm]", a_notice(), False),
        ("severity: severe", a_notice(), True),
        ("severity: extreme", a_notice(), False),
        ("departments: [社区与燃气公司]", a_notice(), True),
        ("departments: [交通]", a_notice(), False),
        ("changes: [opened]", a_notice(), True),
        ("changes: [cleared]", a_notice(), False),
    ],
)
def test_who_wants_what(tmp_path: Path, wish: str, notice: Notice, wanted: bool) -> None:
    [one] = load_webhooks(write(tmp_path, a_webhook(wish)))
    assert one.wants(notice) is wanted
