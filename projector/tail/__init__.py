"""The tail: what tells the projector that something was committed, and proves that it was told all."""
