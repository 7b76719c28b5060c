"""Mail on the console, as it is read: to whom, its subject and its words; not the HTML beside them."""

from django.core.mail.backends.console import EmailBackend as DjangoConsole
from django.core.mail.message import EmailMessage


class EmailBackend(DjangoConsole):
    """What consolemail:// stands for."""

    def write_message(self, message: EmailMessage) -> None:
        head = f"Mail to {', '.join(message.recipients())}: {message.subject}"
        self.stream.write(f"\n{head}\n{'-' * len(head)}\n{str(message.body).strip()}\n\n")
