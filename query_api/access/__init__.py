"""Who may ask what, and how much: keys, tokens, principals and what is refused."""
