"""The leaderboard: an entry and its schema, check, submit, verify, ranks."""
