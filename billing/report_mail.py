"""The net billing report as staff get it by mail: a summary, a chart, two tables, and everything as CSV."""

import io
import zipfile
from email.mime.image import MIMEImage

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.urls import reverse

from billing import report_chart, report_words
from billing.report_figures import Report

PLAIN_AT_MOST = 1_000_000  # bytes of CSV; more is zipped, since mail servers refuse large mails
CHART = "chart"  # the image's Content-ID


def message(told: Report, to: str) -> EmailMultiAlternatives:
    """The mail: plain text, HTML with the chart inside, and the CSV."""
    context = {**_context(told), "chart": f"cid:{CHART}"}
    mail = EmailMultiAlternatives(told.subject, render_to_string("emails/net_report.txt", context), to=[to])
    mail.attach_alternative(render_to_string("emails/net_report.html", context), "text/html")
    mail.attach(_chart(told))
    mail.attach(*attachment(told))
    return mail


def _chart(told: Report) -> MIMEImage:
    image = MIMEImage(report_chart.png(told.days), "png")
    image.add_header("Content-ID", f"<{CHART}>")
    image.add_header("Content-Disposition", "inline", filename="cost-per-day.png")
    return image


def attachment(told: Report) -> tuple[str, bytes, str]:
    """The CSV's name, content and type; zipped where it is large."""
    name = f"net-billing-{told.range.first}-to-{told.range.last}.csv"
    if len(told.csv) <= PLAIN_AT_MOST:
        return name, told.csv, "text/csv"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, told.csv)
    return f"{name}.zip", packed.getvalue(), "application/zip"


def page(told: Report) -> str:
    """The mail's HTML as a browser shows it, with the chart inside."""
    return render_to_string(
        "emails/net_report.html", {**_context(told), "chart": report_chart.data_url(told.days)}
    )


def _context(told: Report) -> dict[str, object]:
    subscriptions = reverse("admin:billing_reportsubscription_changelist")
    return {
        "report": told,
        "words": report_words.of(told),
        "attachment": attachment(told)[0],
        "subscriptions_url": f"{settings.BASE_URL}{subscriptions}",
    }
