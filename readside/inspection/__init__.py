"""Looking at both stores, for people who ask why: verify, explain; nothing is changed by looking."""
