"""What limits usage: windows, balances, admission, and the quotas that plans and people write."""
