"""The query API: answers polls from memory, Redis or Postgres, and says how fresh each answer is."""
