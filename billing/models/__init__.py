"""Billing's tables by noun: plans and subscriptions."""

from billing.models.plans import Plan, PlanChange, PlanLimit, Subscription

__all__ = ["Plan", "PlanChange", "PlanLimit", "Subscription"]
