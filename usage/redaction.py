"""Keeping secrets out of what is stored: by the name of a field, and by the look of a value."""

import re

REDACTED = "[redacted]"

_SECRET_NAME = re.compile(
    r"(^|[_\-.])(pass(word|wd|phrase)?|pwd|secrets?|token|api[_-]?keys?|apikey|access[_-]?key|private[_-]?key"
    r"|credentials?|authorization|auth|cookies?|set[_-]?cookie|session[_-]?id|signature|cvv|cvc|ssn|pin)$",
    re.IGNORECASE,
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SECRET_VALUE = re.compile(
    r"\b(?:sk|pk|rk|whsec|tg)_(?:live|test)_[A-Za-z0-9_-]{8,}"  # Stripe and our own
    r"|\bwhsec_[A-Za-z0-9]{16,}"
    r"|\bsk-[A-Za-z0-9_-]{16,}"  # OpenAI, Anthropic
    r"|\bAIza[0-9A-Za-z_-]{30,}"  # Google
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"  # AWS
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}"
    r"|\bxox[abprs]-[A-Za-z0-9-]{10,}"  # Slack
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"  # JSON web tokens
    r"|(?i:\bbearer)\s+[A-Za-z0-9._~+/=-]{8,}"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"  # user:password in a URL
    r"|(?<=[?&])(?i:api_?key|key|token|access_token|signature|secret|password)=[^&\s#]+"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
)


def redact_text(text: str) -> str:
    """The text with everything that looks like a secret replaced."""
    return _SECRET_VALUE.sub(REDACTED, text)


def redact(value: object) -> object:
    """JSON-like data with secret values replaced; nesting is bounded by the caller."""
    if isinstance(value, dict):
        return {redact_text(k): REDACTED if _is_secret_name(k) and v else redact(v) for k, v in value.items()}
    if isinstance(value, list):
        return [redact(item) for item in value]
    return redact_text(value) if isinstance(value, str) else value


def _is_secret_name(name: str) -> bool:
    return bool(_SECRET_NAME.search(_CAMEL.sub("_", name)))
