"""Who may ask what, and how much: keys and tokens, and what stands before every answer."""
