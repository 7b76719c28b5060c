"""The one exception for rules of the domain: a stable slug, an HTTP status, a sentence."""


class DomainError(Exception):
    """A request that breaks a rule of the domain.

    Args:
        error: stable slug that clients switch on, such as `unknown_account`.
        message: one sentence for people.
        status: the HTTP status that the API answers with.
        field: the input field at fault, when there is one.
        extra: further members of the problem document.
    """

    def __init__(
        self, error: str, message: str, status: int = 400, field: str | None = None, **extra: object
    ) -> None:
        super().__init__(message)
        self.error = error
        self.message = message
        self.status = status
        self.field = field
        self.extra = extra


class Invalid(DomainError):
    """Input that cannot be taken: status 400, and the field that is wrong."""

    def __init__(self, field: str, message: str, error: str = "invalid") -> None:
        super().__init__(error, message, 400, field)


class NotYours(DomainError):
    """What belongs to another account does not exist for you: 404, never 403."""

    def __init__(self, error: str = "not_found", message: str = "There is nothing here for you.") -> None:
        super().__init__(error, message, 404)
