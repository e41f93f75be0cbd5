"""What operators and browsers ask: warm, projection, health, metrics, pages."""
