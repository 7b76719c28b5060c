"""Keeping secrets out of what is stored: by the name of a field, and by the look of a value."""

import re

REDACTED = "[redacted]"

_SECRET_NAME = re.compile(
    r"(^|[_\-.])(pass(word|wd|phrase)?|pwd|secrets?|token|api[_-]?keys?|apikey|access[_-]?key|private[_-]?key"
    r"|credentials?|authorization|auth|cookies?|set[_-]?cookie|session[_-]?id|signature|cvv|cvc|ssn|pin)$",
    re.IGNORECASE,
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def _beginning(prefix: str, rest: str) -> re.Pattern[str]:
    """What begins with a literal prefix that no letter or digit stands before.

    The prefix first, the look back after it: so the engine jumps from prefix to prefix
    instead of trying every position, and a long text costs microseconds.
    """
    literal = re.escape(prefix)
    return re.compile(f"{literal}(?<![A-Za-z0-9_]{literal}){rest}")


_SECRET_VALUES = (
    *(  # Stripe, and our own keys
        _beginning(f"{kind}_{mode}_", r"[A-Za-z0-9_-]{8,}")
        for kind in ("sk", "pk", "rk", "whsec", "tg")
        for mode in ("live", "test")
    ),
    _beginning("whsec_", r"[A-Za-z0-9]{16,}"),
    _beginning("sk-", r"[A-Za-z0-9_-]{16,}"),  # OpenAI, Anthropic
    _beginning("AIza", r"[0-9A-Za-z_-]{30,}"),  # Google
    *(_beginning(kind, r"[0-9A-Z]{16}\b") for kind in ("AKIA", "ASIA")),  # AWS
    *(_beginning(f"gh{kind}_", r"[A-Za-z0-9]{20,}") for kind in "pousr"),
    _beginning("github_pat_", r"[A-Za-z0-9_]{20,}"),
    *(_beginning(f"xox{kind}-", r"[A-Za-z0-9-]{10,}") for kind in "abprs"),  # Slack
    _beginning("eyJ", r"[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),  # JSON web tokens
    *(_beginning(word, r"\s+[A-Za-z0-9._~+/=-]{8,}") for word in ("Bearer", "bearer", "BEARER")),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"),
)
_PASSWORD_IN_URL = re.compile(r"://[^/\s:@]+:[^/\s@]+(?=@)")
_SECRET_IN_QUERY = re.compile(
    r"([?&])(?i:api_?key|key|token|access_token|signature|secret|password)=[^&\s#]+"
)


def redact_text(text: str) -> str:
    """The text with everything that looks like a secret replaced."""
    for pattern in _SECRET_VALUES:
        text = pattern.sub(REDACTED, text)
    text = _PASSWORD_IN_URL.sub(f"://{REDACTED}", text)
    return _SECRET_IN_QUERY.sub(rf"\1{REDACTED}", text)


def redact(value: object) -> object:
    """JSON-like data with secret values replaced; nesting is bounded by the caller."""
    if isinstance(value, dict):
        return {redact_text(k): REDACTED if _is_secret_name(k) and v else redact(v) for k, v in value.items()}
    if isinstance(value, list):
        return [redact(item) for item in value]
    return redact_text(value) if isinstance(value, str) else value


def _is_secret_name(name: str) -> bool:
    return bool(_SECRET_NAME.search(_CAMEL.sub("_", name)))
