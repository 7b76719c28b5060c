"""Sending batches again, whole or in part: each event counts once, and each item gets its true answer."""

import json

import pytest

from accounts.models import Account
from tests.conftest import Api
from usage.ingestion import ROWS_PER_TRANSACTION
from usage.models import Operation, Record, Rollup

pytestmark = pytest.mark.usefixtures("totals_agree")


def calls(*numbers: int) -> list[dict]:
    return [{"event_id": f"call-{n}", "operation": "api_call", "latency_ms": n} for n in numbers]


def counts(answer: object) -> tuple[int, int, int]:
    body = answer.json()  # type: ignore[attr-defined]
    return body["accepted"], body["duplicates"], len(body["rejected"])


def test_a_batch_again_is_all_duplicates(acme: Account, acme_api: Api) -> None:
    assert counts(acme_api.post("usage/", calls(1, 2, 3))) == (3, 0, 0)
    assert counts(acme_api.post("usage/", calls(3, 2, 1))) == (0, 3, 0)
    assert Rollup.objects.get().records == 3


def test_a_batch_that_overlaps_another_adds_only_what_is_new(acme: Account, acme_api: Api) -> None:
    acme_api.post("usage/", calls(1, 2, 3))

    assert counts(acme_api.post("usage/", calls(2, 3, 4))) == (1, 2, 0)
    assert Rollup.objects.get().records == 4


def test_an_event_twice_in_one_batch_counts_once(acme: Account, acme_api: Api) -> None:
    assert counts(acme_api.post("usage/", calls(1, 2, 1, 1))) == (2, 2, 0)
    assert Rollup.objects.get().records == 2


def test_one_id_with_two_contents_in_one_batch_keeps_the_first(acme: Account, acme_api: Api) -> None:
    first, second = calls(1)[0], {**calls(1)[0], "latency_ms": 2}

    answer = acme_api.post("usage/", [first, second, first])

    assert counts(answer) == (1, 1, 1)
    assert answer.json()["rejected"][0]["index"] == 1
    assert answer.json()["rejected"][0]["error"] == "conflict"
    assert Record.objects.get().latency_ms == 1


def test_a_stored_event_stays_a_duplicate_behind_a_conflicting_one(acme: Account, acme_api: Api) -> None:
    stored, other = calls(1)[0], {**calls(1)[0], "latency_ms": 2}
    acme_api.record(**stored)

    answer = acme_api.post("usage/", [other, stored, other, stored])

    assert counts(answer) == (0, 2, 2)
    assert [item["index"] for item in answer.json()["rejected"]] == [0, 2]


def test_repeats_of_a_refused_event_are_refused_too(acme: Account, acme_api: Api) -> None:
    Operation.objects.create(slug="humming", name="Humming")  # without bytes per minute
    refused = {"event_id": "one", "operation": "humming", "audio_bytes": 960000}

    answer = acme_api.post("usage/", [refused, *calls(1), refused])

    assert counts(answer) == (1, 0, 2)
    assert {item["error"] for item in answer.json()["rejected"]} == {"no_bytes_per_minute"}
    assert [item["index"] for item in answer.json()["rejected"]] == [0, 2]


def test_a_refused_event_does_not_use_up_its_id(acme: Account, acme_api: Api) -> None:
    Operation.objects.create(slug="humming", name="Humming")
    refused = {"event_id": "one", "operation": "humming", "audio_bytes": 960000}
    mended = {"event_id": "one", "operation": "humming", "quantities": {"minutes": 1}}

    answer = acme_api.post("usage/", [refused, mended, refused, mended])

    assert counts(answer) == (1, 1, 2)
    assert [item["index"] for item in answer.json()["rejected"]] == [0, 2]
    assert Record.objects.get().event_id == "one"


def test_duplicates_are_found_across_the_transactions_of_one_request(acme: Account, acme_api: Api) -> None:
    numbers = range(ROWS_PER_TRANSACTION + 200)
    batch = calls(*numbers)
    again = calls(0, 1, ROWS_PER_TRANSACTION - 1, ROWS_PER_TRANSACTION, ROWS_PER_TRANSACTION + 199)

    assert counts(acme_api.post("usage/", batch + again)) == (len(batch), len(again), 0)
    assert counts(acme_api.post("usage/", again + batch)) == (0, len(batch) + len(again), 0)
    assert Record.objects.count() == len(batch)


def test_lines_mean_what_an_array_means(acme: Account, acme_api: Api) -> None:
    batch = [*calls(1, 2), {"event_id": "bad", "operation": "api_call", "quantities": {"requests": -1}}]
    lines = "\n".join(json.dumps(event) for event in batch) + "\n\n"

    as_array = acme_api.post("usage/", batch)
    as_lines = acme_api.post("usage/", lines, content_type="application/x-ndjson")

    assert counts(as_array) == (2, 0, 1)
    assert counts(as_lines) == (0, 2, 1)
    assert as_lines.json()["rejected"] == as_array.json()["rejected"]


def test_lines_are_stored_as_an_array_is(acme: Account, acme_api: Api) -> None:
    lines = "\n".join(json.dumps(event) for event in calls(1, 2))

    assert counts(acme_api.post("usage/", lines, content_type="application/x-ndjson")) == (2, 0, 0)
    assert counts(acme_api.post("usage/", calls(1, 2))) == (0, 2, 0)


def test_a_single_record_and_one_in_a_batch_are_the_same_event(acme: Account, acme_api: Api) -> None:
    assert acme_api.record(**calls(1)[0]).status_code == 201
    assert counts(acme_api.post("usage/", calls(1, 2))) == (1, 1, 0)
    assert acme_api.record(**calls(2)[0]).status_code == 200


def test_details_are_stored_with_the_new_ones_of_a_mixed_batch(acme: Account, acme_api: Api) -> None:
    with_detail = [{**event, "request_id": f"req-{event['event_id']}"} for event in calls(1, 2, 3)]
    acme_api.record(**with_detail[1])

    assert counts(acme_api.post("usage/", with_detail)) == (2, 1, 0)

    stored = Record.objects.order_by("event_id").values_list("event_id", "detail__request_id")
    assert list(stored) == [(f"call-{n}", f"req-call-{n}") for n in (1, 2, 3)]


def test_the_good_ones_are_stored_whatever_the_bad_ones_are(acme: Account, acme_api: Api) -> None:
    batch = [calls(1)[0], {"event_id": "no-operation"}, 17, calls(2)[0], {"operation": "api_call", "x": 1}]

    answer = acme_api.post("usage/", batch)

    assert answer.status_code == 207
    assert counts(answer) == (2, 0, 3)
    rejected = [(item["index"], item["event_id"]) for item in answer.json()["rejected"]]
    assert rejected == [(1, "no-operation"), (2, None), (4, None)]


def test_a_batch_of_bad_ones_only_is_400(acme: Account, acme_api: Api) -> None:
    answer = acme_api.post("usage/", [{"event_id": "one"}])

    assert answer.status_code == 400
    assert counts(answer) == (0, 0, 1)
