"""Demo data: the real trace in one business account, and accounts of the other kinds of product.

Everything is recorded through the REST API of the running server. Times are laid
before an anchor that is stored, so running it again sends the same events.
"""

import os
import random
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from tqdm import tqdm

from accounts import keys
from accounts.lifecycle import open_business_account
from accounts.models import Account, Key, Member, User
from usage import replay
from usage.models import Meter, Quota, Replay
from usage.quotas import limits
from usage.representation import instant_text

TRACE = Path(replay.__file__).parent / "data" / "azure_llm_2023_conv.csv"
STAFF = "staff@example.com"
NORTHWIND = "Northwind Assistants"
SECRETS = ("DEMO_PASSWORD", "DEMO_KEY", "DEMO_SERVICE_KEY")


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the demo's logins and keys are; made once, kept in the secrets file of this checkout."""

    password: str
    account_key: str
    service_key: str


def demo_secrets() -> Secrets:
    """The demo's secrets, from the environment or the secrets file, which gets the missing ones."""
    made = {"DEMO_PASSWORD": secrets.token_urlsafe(9), **{name: keys.new_token() for name in SECRETS[1:]}}
    missing = {name: value for name, value in made.items() if not os.environ.get(name)}
    if missing:
        os.environ.update(missing)
        with open(settings.SECRETS_FILE, "a", opener=lambda p, flags: os.open(p, flags, 0o600)) as file:
            file.writelines(f"{name}={value}\n" for name, value in missing.items())
    return Secrets(*(os.environ[name] for name in SECRETS))


@dataclass(frozen=True, slots=True)
class Cast:
    """The demo's accounts."""

    northwind: Account
    case_tool: Account
    voice: Account
    chat: Account
    studio: Account


@transaction.atomic
def prepare(known: Secrets) -> Cast:
    """Make the demo's users, accounts and keys, as far as they are missing."""
    if not User.objects.filter(email=STAFF).exists():
        User.objects.create_superuser(STAFF, known.password, name="Sam Staff")
    maya = _user("maya@example.com", "Maya Okafor", known)
    dev = _user("dev@example.com", "Dev Banerjee", known)
    ines = _user("ines@example.com", "Ines Duarte", known)
    northwind = _business(NORTHWIND, maya, "enterprise", "Asia/Kolkata")
    _agree_on_a_limit(northwind)
    for user, role in ((dev, Member.Role.ADMIN), (ines, Member.Role.MEMBER)):
        Member.objects.get_or_create(account=northwind, user=user, defaults={"role": role})
    cast = Cast(
        northwind=northwind,
        case_tool=_user("priya@example.com", "Priya Raman", known, time_zone="Asia/Kolkata").personal_account,
        voice=_business(
            "Ringwell Reception", _user("omar@example.com", "Omar Haddad", known), "basic", "UTC"
        ),
        chat=_user("lena@example.com", "Lena Park", known, plan="free").personal_account,
        studio=_business("Studio Meridian", _user("kai@example.com", "Kai Lindqvist", known), "pro", "UTC"),
    )
    for token, account, name in (
        (known.account_key, northwind, "Demo app"),
        (known.service_key, None, "Demo back end"),
    ):
        if not Key.objects.filter(secret_hash=keys.hash_token(token)).exists():
            keys.make_key(account, name=name, token=token)
    return cast


def _user(
    email: str, name: str, known: Secrets, *, plan: str | None = None, time_zone: str | None = None
) -> User:
    user = User.objects.filter(email=email).first()
    if user is None:
        user = User(email=email, name=name)
        user.set_password(known.password)
        user.wished_plan = plan  # type: ignore[attr-defined]
        user.save()
        if time_zone is not None:
            Account.objects.filter(person=user).update(time_zone=time_zone)
    return user


def _business(name: str, owner: User, plan: str, time_zone: str) -> Account:
    found = Account.objects.filter(name=name, members__user=owner).first()
    return found or open_business_account(name, owner=owner, plan=plan, time_zone=time_zone)


def _agree_on_a_limit(account: Account) -> None:
    """An override as staff make it, so that there is one to see."""
    meter = Meter.objects.get(slug="content_generations")
    if not Quota.objects.filter(account=account, meter=meter).exists():
        limits.override(account, meter, Decimal(25_000), actor="demo", reason="Agreed in the contract.")


def is_complete(cast: Cast) -> bool:
    """Whether everything has been replayed; an interrupted run is not, and goes on when run again."""
    ours = Replay.objects.filter(account__in=(cast.northwind, cast.studio))
    return ours.exclude(finished_at=None).count() >= 2


def fill(cast: Cast, base_url: str, service_key: str) -> None:
    """Record the demo data through the REST API of the server at `base_url`."""
    send = replay.over_http(base_url, service_key)
    trace = replay.read_trace(TRACE)
    members = list(cast.northwind.members.order_by("id").values_list("user__email", flat=True))
    target = replay.Target(cast.northwind, "openai", "gpt-4o", "content_generation", members=members)
    with tqdm(total=len(trace.calls), unit=" calls", desc="Replaying 58 minutes of real traffic") as bar:
        report = replay.run(trace, target, send, bar.update)
    others, _ = Replay.objects.get_or_create(
        account=cast.studio, source="demo", defaults={"anchor": timezone.now()}
    )
    events = [event for make in MAKERS for event in make(cast, others.anchor)]
    for start in range(0, len(events), replay.BATCH):
        answer = send(events[start : start + replay.BATCH])
        report.problems += [rejection["message"] for rejection in answer["rejected"]]
    if report.problems:
        raise RuntimeError(f"the demo data was not taken whole: {report.problems[:3]}")
    Replay.objects.filter(pk=others.pk, finished_at=None).update(finished_at=timezone.now())


def _event(account: Account, event_id: str, at: datetime, operation: str, **fields: Any) -> dict[str, Any]:
    known = {name: value for name, value in fields.items() if value is not None}
    return {
        "account": account.public_id,
        "event_id": event_id,
        "occurred_at": instant_text(at),
        "operation": operation,
        **known,
    }


def _moments(rng: random.Random, anchor: datetime, days: int, a_day: int) -> Iterator[tuple[int, datetime]]:
    """About `a_day` moments in each of the days before the anchor, in office hours mostly."""
    number = 0
    for day in range(days, 0, -1):
        for _ in range(rng.randint(a_day // 2, a_day + a_day // 2)):
            number += 1
            yield number, anchor - timedelta(days=day) + timedelta(minutes=rng.randint(0, 900))


def case_tool(cast: Cast, anchor: datetime) -> Iterator[dict[str, Any]]:
    """Generations of the Gemini image tool: an analysis, an image, sometimes a 4K enhancement."""
    rng = random.Random("case tool")
    for n, at in _moments(rng, anchor, days=30, a_day=4):
        common = {"provider": "google", "reference": f"generation-{n}"}
        length = rng.randint(1200, 2600)
        yield _event(
            cast.case_tool,
            f"gen-{n}-text",
            at,
            "text_analysis",
            model="gemini-2.0-flash",
            quantities={"input_images": 1},
            characters=length,
            latency_ms=rng.randint(700, 2400),
            **common,
        )
        yield _event(
            cast.case_tool,
            f"gen-{n}-image",
            at + timedelta(seconds=9),
            "image_generation",
            model="gemini-2.5-flash-image",
            quantities={"input_images": 1, "output_images": 1},
            latency_ms=rng.randint(4000, 11000),
            status="error" if rng.random() < 0.04 else None,
            **common,
        )
        if rng.random() < 0.45:
            yield _event(
                cast.case_tool,
                f"gen-{n}-4k",
                at + timedelta(seconds=31),
                "image_enhancement",
                model="gemini-3-pro-image-preview",
                quantities={"input_images": 1, "output_images": 1},
                latency_ms=rng.randint(9000, 24000),
                **common,
            )


def voice_agent(cast: Cast, anchor: datetime) -> Iterator[dict[str, Any]]:
    """Calls of a voice agent: minutes (some estimated from audio), calls, queries, storage."""
    rng = random.Random("voice agent")
    for n, at in _moments(rng, anchor, days=45, a_day=5):
        session = f"call-{n}"
        seconds = rng.randint(20, 420)
        yield _event(
            cast.voice, f"call-{n}", at, "api_call", session=session, latency_ms=rng.randint(30, 180)
        )
        minutes: dict[str, Any] = {"quantities": {"minutes": f"{seconds / 60:.2f}"}}
        if n % 6 == 0:
            minutes = {"audio_bytes": seconds * 16_000}
        yield _event(cast.voice, f"call-{n}-talk", at, "voice_minute", session=session, **minutes)
        yield _event(
            cast.voice,
            f"call-{n}-queries",
            at,
            "ai_query",
            session=session,
            quantities={"requests": rng.randint(1, 6)},
            latency_ms=rng.randint(300, 2200),
        )
        if n % 9 == 0:
            yield _event(
                cast.voice, f"call-{n}-recording", at, "storage", quantities={"megabytes": rng.randint(2, 40)}
            )


def chat_app(cast: Cast, anchor: datetime) -> Iterator[dict[str, Any]]:
    """Conversations: a message, an answer, now and then an upload."""
    rng = random.Random("chat app")
    for n, at in _moments(rng, anchor, days=25, a_day=3):
        session = f"chat-{rng.randint(1, 18)}"
        yield _event(cast.chat, f"m-{n}", at, "message_sent", session=session)
        yield _event(
            cast.chat,
            f"m-{n}-answer",
            at + timedelta(seconds=4),
            "ai_response",
            session=session,
            quantities={"tokens": rng.randint(40, 260), "messages": 1},
            latency_ms=rng.randint(600, 4200),
        )
        if rng.random() < 0.12:
            size = rng.randint(20_000, 4_000_000)
            yield _event(
                cast.chat, f"m-{n}-file", at, "file_upload", session=session, quantities={"bytes": size}
            )


IMAGES = (
    ("openai", "dall-e-3", "standard"),
    ("openai", "dall-e-3", "hd"),
    ("openai", "dall-e-3", "hd-wide"),
    ("black-forest-labs", "flux-dev", None),
    ("black-forest-labs", "flux-pro", None),
    ("stability", "stable-image-core", None),  # has no price yet, on purpose
)
CAMPAIGNS = ("spring-launch", "always-on", None)


def creator_studio(cast: Cast, anchor: datetime) -> Iterator[dict[str, Any]]:
    """Content, images and video for campaigns; one provider without a price."""
    rng = random.Random("creator studio")
    for n, at in _moments(rng, anchor, days=28, a_day=4):
        campaign = rng.choice(CAMPAIGNS)
        provider, model, variant = rng.choice(IMAGES)
        yield _event(
            cast.studio,
            f"copy-{n}",
            at,
            "content_generation",
            provider="openai",
            model="gpt-5",
            campaign=campaign,
            quantities={"input_tokens": rng.randint(400, 4000), "output_tokens": rng.randint(200, 1500)},
            latency_ms=rng.randint(1500, 9000),
            endpoint="/v1/responses",
        )
        yield _event(
            cast.studio,
            f"image-{n}",
            at + timedelta(minutes=2),
            "image_generation",
            provider=provider,
            model=model,
            variant=variant,
            campaign=campaign,
            quantities={"output_images": rng.randint(1, 4)},
            latency_ms=rng.randint(5000, 19000),
        )
        if rng.random() < 0.2:
            runway = rng.random() < 0.5
            yield _event(
                cast.studio,
                f"video-{n}",
                at + timedelta(minutes=6),
                "video_generation",
                provider="runway" if runway else "luma",
                model="gen-3" if runway else "dream-machine",
                campaign=campaign,
                quantities={"seconds": rng.choice(["5", "7.5", "10"])},
                latency_ms=rng.randint(40_000, 120_000),
            )


MAKERS = (case_tool, voice_agent, chat_app, creator_studio)
