"""Mails as people get them: plain text and HTML from a pair of templates, nothing loaded from anywhere."""

import logging
from collections.abc import Sequence

from django.core.mail import EmailMultiAlternatives, get_connection
from django.template.loader import render_to_string

logger = logging.getLogger("tollgate.mail")
PATIENCE_S = 10  # with a mail server; somebody may be waiting for a page


def send(template: str, subject: str, to: Sequence[str], **context: object) -> None:
    """Send templates/emails/<template>.txt with its .html, to each address on its own.

    Raises:
        OSError: the mail server is away or does not take it (`smtplib`'s errors are such).
    """
    subject = " ".join(subject.split())  # names come from people, and a header has no line breaks
    context = {"subject": subject, **context}
    text = render_to_string(f"emails/{template}.txt", context)
    html = render_to_string(f"emails/{template}.html", context)
    with get_connection(timeout=PATIENCE_S) as connection:
        for address in to:
            mail = EmailMultiAlternatives(subject, text, to=[address], connection=connection)
            mail.attach_alternative(html, "text/html")
            mail.send()
