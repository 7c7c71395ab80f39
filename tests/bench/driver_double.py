"""A double of a host library's driver, which speaks to no worker: for what a real one does not show.

`python driver_double.py ANSWERS` with a JSON object: its answer to an order, by the order's first key, as
`{"run": {"seconds": 1, …}}`. `null` ends it, a text is said as it is, a number is a silence of so many
seconds. The first line counts as `ready`, and gets a ready answer where there is none for it.
"""

import json
import os
import sys
import time

JOB = {"command", "config", "input", "width", "height", "inFlight", "cwd"}


def main(text: str) -> None:
    answers = json.loads(text)
    job = json.loads(sys.stdin.readline())
    if set(job) != JOB or "protocol" in job["config"]:
        say({"error": f"no job: {job}"})
    say(answers.get("ready", {"ready": True, "workerPid": os.getpid()}))
    for line in sys.stdin:
        say(answers[next(iter(json.loads(line)))])


def say(answer: object) -> None:
    match answer:
        case None:
            sys.exit(1)
        case int():
            time.sleep(answer)
        case str():
            sys.stdout.write(answer + "\n")
        case _:
            sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
