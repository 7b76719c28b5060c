"""What is said about a price: which it hides, what hides it, what lacks a rate. Pure."""

from datetime import UTC, datetime, timedelta

import pytest

from usage.price_notes import (
    Note,
    Proposal,
    Surroundings,
    concerned_by,
    in_common,
    is_more_specific,
    notes,
)
from usage.pricing import Key, Rate, Timeline

NOW = datetime(2026, 3, 10, tzinfo=UTC)
START = datetime(2026, 3, 10, tzinfo=UTC)
INPUT, OUTPUT, TOTAL = 1, 2, 3
UNITS = {INPUT: "input_tokens", OUTPUT: "output_tokens", TOTAL: "total_tokens"}
GPT: Key = ("openai", "gpt-9", "chat", "")


def rate(price: int = 1) -> Rate:
    return Rate(price, 0, price * 10**10, 1_000_000)


def since(*starts: datetime) -> Timeline:
    return Timeline(starts, tuple(rate(n + 1) for n in range(len(starts))))


def proposed(key: Key = GPT, start: datetime = START, units: tuple[int, ...] = (INPUT,)) -> Proposal:
    return Proposal(key, start, {unit: rate(9) for unit in units})


def said(
    proposal: Proposal, timelines: dict | None = None, *, is_new: bool = True, **around: object
) -> list[Note]:
    known = {"models": frozenset({("openai", "gpt-9", "")}), "operations": frozenset({"chat"}), **around}
    return notes(proposal, Surroundings(timelines or {}, UNITS, **known), NOW if is_new else None)  # type: ignore[arg-type]


def one(found: list[Note]) -> Note:
    (note,) = found
    return note


def test_of_a_price_that_starts_now_beside_no_other_there_is_nothing_to_say() -> None:
    assert said(proposed()) == []


def test_a_start_in_the_past_is_told_with_its_days() -> None:
    note = one(said(proposed(start=NOW - timedelta(days=40, hours=3))))
    assert note.severity == "warning"
    assert "It starts 40 days in the past. Records that are in the ledger keep their price" in note.text
    assert said(proposed(start=NOW - timedelta(days=40)), is_new=False) == []


def test_a_start_to_come_is_told_with_its_day() -> None:
    note = one(said(proposed(start=datetime(2026, 4, 1, tzinfo=UTC))))
    assert note == ("info", "It holds from 1 Apr 2026; until then nothing changes.")


def test_a_unit_that_the_new_price_leaves_out_keeps_the_older_rate() -> None:
    older = {(GPT, OUTPUT): since(NOW - timedelta(days=90)), (GPT, INPUT): since(NOW - timedelta(days=90))}
    note = one(said(proposed(), older))
    assert note.severity == "warning"
    assert "no rate for what the older price has one for: output_tokens (1 USD per 1,000,000)." in note.text
    assert "the older price goes on holding there" in note.text


def test_a_later_price_that_is_there_already_ends_it() -> None:
    later = {(GPT, INPUT): since(datetime(2026, 5, 1, tzinfo=UTC))}
    note = one(said(proposed(), later))
    assert note == ("info", "It ends on 1 May 2026 for input_tokens: a later price is there already.")


def test_a_more_specific_price_hides_it_for_the_units_that_both_name() -> None:
    general: Key = ("", "gpt-9", "", "")
    above = {(GPT, INPUT): since(NOW - timedelta(days=1)), (GPT, OUTPUT): since(NOW - timedelta(days=1))}
    note = one(said(proposed(general), above))
    assert note.severity == "warning"
    assert "openai · gpt-9 · chat is more specific and goes on pricing its usage there: input_tokens." in (
        note.text
    )


def test_it_hides_a_less_specific_one() -> None:
    below = {(("", "", "chat", ""), INPUT): since(NOW - timedelta(days=1))}
    note = one(said(proposed(), below))
    assert note == ("info", "It is more specific than chat, and hides it for input_tokens.")


def test_prices_that_no_record_can_share_are_not_mentioned() -> None:
    others = {
        (("openai", "gpt-8", "chat", ""), INPUT): since(NOW - timedelta(days=1)),
        (("google", "", "chat", ""), INPUT): since(NOW - timedelta(days=1)),
        (("openai", "gpt-9", "draw", ""), INPUT): since(NOW - timedelta(days=1)),
    }
    assert said(proposed(), others) == []


def test_a_model_and_an_operation_that_nobody_has_named_are_told() -> None:
    found = said(proposed(("openai", "gtp-9", "chta", "")))
    assert [note.severity for note in found] == ["warning", "warning"]
    assert "No record has named openai · gtp-9" in found[0].text
    assert "There is no operation chta" in found[1].text


def test_an_informational_unit_is_never_priced() -> None:
    note = one(said(proposed(units=(TOTAL,)), informational=frozenset({TOTAL})))
    assert "these rates do nothing: total_tokens" in note.text


def test_usage_that_stays_without_a_price_is_told() -> None:
    gaps = [(GPT, OUTPUT), (GPT, INPUT), (("openai", "gpt-8", "chat", ""), OUTPUT)]
    note = one(said(proposed(), unpriced=gaps))
    assert note == ("warning", "Usage of output_tokens stays without a price: openai · gpt-9 · chat.")
    priced_since = {(("", "", "chat", ""), OUTPUT): since(NOW - timedelta(days=1))}
    assert said(proposed(), priced_since, unpriced=gaps) == []


@pytest.mark.parametrize(
    ("one_key", "other", "expected"),
    [
        (GPT, ("", "gpt-9", "chat", ""), True),
        (("", "gpt-9", "chat", ""), ("openai", "gpt-9", "", ""), True),
        (("openai", "gpt-9", "", ""), ("", "gpt-9", "chat", ""), False),
        (("", "gpt-9", "", "hd"), ("", "gpt-9", "", ""), True),
        (("", "gpt-9", "", "hd"), ("", "gpt-9", "chat", ""), False),
        (GPT, GPT, False),
        (GPT, ("google", "", "chat", ""), False),
    ],
)
def test_which_of_two_prices_comes_first(one_key: Key, other: Key, expected: bool) -> None:
    assert is_more_specific(one_key, other) is expected


def test_what_two_prices_have_in_common() -> None:
    assert in_common(("", "gpt-9", "", "hd"), ("openai", "", "chat", "")) == ("openai", "gpt-9", "chat", "hd")
    assert in_common(GPT, ("google", "gpt-9", "chat", "")) is None


def test_usage_is_concerned_only_where_nothing_more_specific_holds_then() -> None:
    general: Key = ("", "", "chat", "")
    proposal = proposed(general)
    above = {(GPT, INPUT): since(START + timedelta(seconds=1))}
    assert concerned_by(proposal, above, GPT, INPUT)
    assert not concerned_by(proposal, {(GPT, INPUT): since(START)}, GPT, INPUT)
    assert not concerned_by(proposal, {}, GPT, OUTPUT)
    assert not concerned_by(proposal, {}, ("openai", "gpt-9", "draw", ""), INPUT)
