"""The net billing report: what all accounts used and cost, what they owe, and what remains."""
