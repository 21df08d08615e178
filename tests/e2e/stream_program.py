"""Runs a recipe for Redpanda Connect with its own library, on a topic of files: `stream_program.py FOLDER FIRST`.

The library that comes as a package (stream-requirements.txt) has no Kafka in it. This stands in for the input: it
gives the messages of each partition in order and with the same metadata, one batch at a time, and the next once that
is acknowledged. What is not acknowledged is given again, here or by the next process. FIRST is the offset of the first
message. FOLDER holds

- `recipe.json`: the recipe without its input
- `N.topic` for each partition: its messages so far, a line each, key and text as a JSON array
- `complete`, if there will be no more; this ends then
- `N.committed`: how many of the messages are done with, which this writes
"""

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import mq_bridge
import mq_bridge_connect

TOPIC = "transactions"


class Partition:
    """An input of mq_bridge: a partition's messages from the first that is not committed."""

    def __init__(self, topic: Path, first: int) -> None:
        self._first = first
        self._topic = topic
        self._messages: list[tuple[str, str]] = []
        self._number = int(topic.stem)
        self._committed = topic.with_suffix(".committed")
        self._given = 0  # messages that have not been acknowledged

    def receive_batch(self, at_most: int) -> list[Any]:
        """The next messages: none while others are under way or if there are none yet; StopIteration after the last."""
        done = int(self._committed.read_text())
        if done >= len(self._messages):
            is_complete = self._topic.with_name("complete").exists()
            self._messages = [json.loads(line) for line in self._topic.read_text().splitlines()]
            if done == len(self._messages) and is_complete:
                raise StopIteration
        if self._given or done == len(self._messages):
            time.sleep(0.001)
            return []
        batch = [
            mq_bridge.Message(
                text.encode(),
                {
                    "kafka_key": key,
                    "kafka_topic": TOPIC,
                    "kafka_partition": str(self._number),
                    "kafka_offset": str(self._first + index),
                },
            )
            for index, (key, text) in enumerate(self._messages[done : done + at_most], start=done)
        ]
        self._given = len(batch)
        return batch

    def commit(self, dispositions: list[str]) -> None:
        """What has become of the batch: "ack" or "nack" of each message."""
        assert len(dispositions) == self._given
        self._given = 0
        if set(dispositions) == {"ack"}:
            written = self._committed.with_suffix(".new")
            written.write_text(str(int(self._committed.read_text()) + len(dispositions)))
            written.replace(self._committed)


def main(folder: Path, first: int) -> None:
    """Run the recipe until all is done with, or until SIGTERM."""
    mq_bridge_connect.register()
    mq_bridge.register_endpoint("partition", lambda _, config: Partition(Path(config["topic"]), first))
    signal.signal(signal.SIGTERM, lambda *_: mq_bridge.request_shutdown())
    recipe = (folder / "recipe.json").read_text()
    routes = [
        mq_bridge.Route.from_config(
            {
                "input": {"partition": {"topic": str(topic)}},
                "output": {"custom": {"name": "connect", "config": {"yaml": recipe}}},
                "batch_size": 20,
            }
        )
        for topic in sorted(folder.glob("*.topic"))
    ]
    for route in routes:
        route.start()
    for route in routes:
        route.join()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
