"""A look-alike of Stripe for tests and for trying Tollgate locally. It is not Stripe, and no money moves.

In a test, in-process; events are signed and posted by the test, in any order:

    with Lookalike() as fake:
        settings.STRIPE_API_BASE = fake.base          # the real stripe library talks to it
        fake.sell("pro_monthly", 2000)
        ...
        fake.complete_checkout(session_id)            # what a person would do on its pages
        for event in fake.events: body, headers = fake.signed(event)

As a process, with pages to click through and events delivered: `python -m tests.fakes.stripe --help`.
"""

from tests.fakes.stripe.lookalike import SECRET, Lookalike

__all__ = ["SECRET", "Lookalike"]
