"""Prices and products as Stripe has them: the names that handlers know; see `sync`."""

from billing.stripe.client import StripeAway


def refresh_price(price_id: str) -> None:
    """Fetch one price and write it down."""
    raise StripeAway(f"The price {price_id} cannot be fetched yet.")


def refresh_product(product_id: str) -> None:
    """Fetch the prices of one product and write them down."""
    raise StripeAway(f"The prices of {product_id} cannot be fetched yet.")
