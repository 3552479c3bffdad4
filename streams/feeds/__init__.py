"""What the world is told: the feed read in order, as server-sent events and as signed webhooks."""
