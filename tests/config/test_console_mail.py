"""Mail on the console can be read: its words, without the HTML beside them."""

import io
from pathlib import Path

import pytest
from django.core.mail import EmailMultiAlternatives

from config.console_mail import EmailBackend
from config.environment import Environment


def test_the_words_are_shown_and_no_html() -> None:
    stream = io.StringIO()
    mail = EmailMultiAlternatives("Your code", "It is 123 456.", to=["ann@example.com", "bob@example.com"])
    mail.attach_alternative("<p>It is <b>123 456</b>.</p>", "text/html")

    sent = EmailBackend(stream=stream).send_messages([mail])

    assert sent == 1
    assert "Mail to ann@example.com, bob@example.com: Your code" in stream.getvalue()
    assert "It is 123 456." in stream.getvalue()
    assert "<" not in stream.getvalue()


def test_the_console_is_where_mail_goes_unless_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EMAIL_URL", raising=False)

    config = Environment(tmp_path / "none").mail("EMAIL_URL", "consolemail://")

    assert config["EMAIL_BACKEND"] == f"{EmailBackend.__module__}.EmailBackend"
