"""Billing's tables by noun: plans and subscriptions."""

from billing.models.plans import Plan, PlanLimit, Subscription

__all__ = ["Plan", "PlanLimit", "Subscription"]
