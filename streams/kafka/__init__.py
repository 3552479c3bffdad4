"""Speaks to Kafka: how the brokers are reached, which topics there are, what is written to them."""
