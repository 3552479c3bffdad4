"""Decides what people work on and who is told: problems, cases, the affected ledger, notices."""
