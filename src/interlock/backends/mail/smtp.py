"""Mail over SMTP, by the address of a server: ``smtp://USER:PASSWORD@HOST:587?from=no-reply@example.org``."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from urllib.parse import parse_qs, unquote, urlsplit

from interlock.core.errors import unavailable

SECONDS = 10.0
"""How long a server may take for each step."""
_PORTS = {"smtp": 587, "smtps": 465}


class SmtpMail:
    """Satisfies ``ports.mail.Mail``. A connection for each message, in a thread of its own.

    ``smtps`` is encrypted from the first byte. ``smtp`` is encrypted as soon as the server offers it; a password is
    never sent without that.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError("is no address of a mail server; write it like smtp://USER:PASSWORD@HOST:587?from=ADDRESS")
        self._is_encrypted = parts.scheme == "smtps"
        self._host, self._port = parts.hostname, parts.port or _PORTS[parts.scheme]
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        asked = parse_qs(parts.query).get("from", [""])[0]
        self.sender = asked or (self._user if "@" in self._user else f"interlock@{self._host}")

    async def send(self, address: str, subject: str, text: str) -> None:
        """Hand a message over. Raises UNAVAILABLE if the server does not take it."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self.sender, address, subject
        message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain=self._host)
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        try:
            await asyncio.to_thread(self._hand_over, message)
        except (smtplib.SMTPException, OSError) as error:  # its text may quote what was sent
            raise unavailable(f"The mail server {self._host} took no message: {type(error).__name__}") from error

    def _hand_over(self, message: EmailMessage) -> None:
        context = ssl.create_default_context()
        if self._is_encrypted:
            server: smtplib.SMTP = smtplib.SMTP_SSL(self._host, self._port, timeout=SECONDS, context=context)
        else:
            server = smtplib.SMTP(self._host, self._port, timeout=SECONDS)
        with server:
            server.ehlo()
            if not self._is_encrypted and server.has_extn("starttls"):
                server.starttls(context=context)
                server.ehlo()
            elif self._password and not self._is_encrypted:
                raise smtplib.SMTPNotSupportedError("the server offers no encryption for the password")
            if self._password:
                server.login(self._user, self._password)
            server.send_message(message)
