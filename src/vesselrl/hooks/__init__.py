"""What happens around a run: parameters resolved, a log opened, stale or missing stages made."""
