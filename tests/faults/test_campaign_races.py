"""Many clients that create, archive and use one campaign at once: there is one, and nobody gets an error."""

from concurrent.futures import ThreadPoolExecutor

from tests.faults.client import Answer
from tests.faults.installation import Installation

CLIENTS = 8


def test_of_many_who_create_one_at_once_one_makes_it(tollgate: Installation, name: str) -> None:
    assert tollgate.post("usage/", {"operation": "api_call", "account": name}).status == 201

    def create(number: int) -> Answer:
        if number % 4 == 0:
            event = {"operation": "api_call", "account": name, "campaign": f"sale-{number // 16}"}
            return tollgate.post("usage/", event)
        return tollgate.post("usage/campaigns/", {"name": f"sale-{number // 16}", "account": name})

    with ThreadPoolExecutor(CLIENTS) as clients:
        answers = list(clients.map(create, range(64)))

    assert {answer.status for answer in answers} <= {200, 201}
    made: dict[str, set[str]] = {}
    for answer in answers:
        if "event_id" not in answer.body:
            made.setdefault(answer.body["name"], set()).add(answer.body["id"])
    listed = tollgate.get(f"usage/campaigns/?account={name}").body["results"]
    assert {campaign["name"]: {campaign["id"]} for campaign in listed} == made
    assert sum(campaign["records"] for campaign in listed) == 16


def test_archiving_while_records_name_it_loses_neither(tollgate: Installation, name: str) -> None:
    assert tollgate.post("usage/", {"operation": "api_call", "account": name}).status == 201
    sale = tollgate.post("usage/campaigns/", {"name": "sale", "account": name}).body["id"]

    def archive_or_use(number: int) -> Answer:
        if number % 2:
            return tollgate.post(f"usage/campaigns/{sale}/archive/", {"account": name})
        return tollgate.post("usage/", {"operation": "api_call", "account": name, "campaign": "sale"})

    with ThreadPoolExecutor(CLIENTS) as clients:
        answers = list(clients.map(archive_or_use, range(40)))

    assert {answer.status for answer in answers} <= {200, 201}
    assert len({a.body["archived_at"] for a in answers if "archived_at" in a.body}) == 1
    (archived,) = tollgate.get(f"usage/campaigns/?account={name}&archived=true").body["results"]
    assert (archived["id"], archived["records"]) == (sale, 20)
