"""A process that publishes a store's feed until it is killed: started by the tests of the feed on Kafka.

python -m tests.system.publishing_feed STORE BROKERS GROUP CASES DEAD
"""

import sys
import time

from streams.feeds.kafka import KafkaFeed
from streams.kafka.client import KafkaSettings
from streams.sections import TopicsSection
from streams.store import open_store


def main(db: str, brokers: str, group: str, cases: str, dead: str) -> int:
    topics = TopicsSection(cases=cases, dead=dead)
    with open_store(db) as store:
        feed = KafkaFeed(store, KafkaSettings(tuple(brokers.split(",")), group=group, topics=topics))
        feed.start()
        print("publishing", flush=True)
        while feed.alive:
            time.sleep(0.05)
        print(feed.status()["error"], flush=True)
    return 70


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
