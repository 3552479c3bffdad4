"""Drive the core: the same engines in one process or on Kafka."""
