"""Batches whose stored form is larger than a server takes in one statement."""

import json

from accounts.models import Account
from tests.conftest import Api
from usage.models import RecordDetail


def test_a_batch_of_full_metadata_is_stored_whole(
    acme: Account, service_api: Api, totals_agree: None
) -> None:
    # Quotes and backslashes double when they are escaped: as SQL these pass 16 MiB.
    metadata = {"note": '"' * 4_000}
    events = [
        {
            "account": acme.public_id,
            "event_id": f"large-{n}",
            "operation": "api_call",
            "metadata": metadata,
            "user_agent": "'" * 500,
            "endpoint": "'" * 500,
        }
        for n in range(1_000)
    ]
    body = json.dumps(events)
    assert len(body) > 9_000_000

    response = service_api.post("usage/", body)

    assert response.json() == {"accepted": 1_000, "duplicates": 0, "rejected": []}
    assert RecordDetail.objects.count() == 1_000
    assert json.loads(RecordDetail.objects.latest("record_id").metadata) == metadata
