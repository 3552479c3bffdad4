"""The engines on Kafka: `tocsin worker`, any number of them, each with some partitions, signals, or the Desk.

Three consumer groups share the work out: the input's partitions among the Counters, those of two small internal topics
among the Watches and for the Desk. Records on the internal topics only wake; what the engines exchange is in the store.

Promises
- What was counted, how far and the state are one fenced transaction (`streams.store.engines`). Whoever lost an engine
  without knowing ends with exit code 70 and has written nothing.
- A store that can't be written is waited for, and meanwhile nothing more is taken in.
- Time passes on a live input by ticks, and only on a partition of which the broker has just said that nothing is left
  to read: a broker that is away makes no silence.
"""
