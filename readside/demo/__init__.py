"""Everything on one machine with nothing configured: embedded servers, a sample writer, and the demo that ties them."""
