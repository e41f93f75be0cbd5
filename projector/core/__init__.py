"""What is decided: functions of values, and the tables they look at; nothing is awaited here."""
