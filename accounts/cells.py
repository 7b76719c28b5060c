"""What a cell of a file may hold, so that a spreadsheet shows it and runs nothing."""

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def unevaluated(text: str) -> str:
    """The text; one that a spreadsheet would run as a formula begins with an apostrophe."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
