"""What one process keeps of answers, how fresh they are, and in which forms they leave."""
