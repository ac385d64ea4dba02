"""How fast Ray gets through tasks that do nothing: `python ray_noop.py COUNT`. Two workers, warmed up before the clock starts."""

import json
import logging
import sys
import time

import ray


@ray.remote
def noop():
    return None


def main() -> None:
    count = int(sys.argv[1])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    ray.get([noop.remote() for _ in range(200)])
    started = time.perf_counter()
    ray.get([noop.remote() for _ in range(count)])
    print(json.dumps({"tasks": count, "seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main()
