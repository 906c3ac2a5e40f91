"""Python's ThreadPoolExecutor in the scenarios that it can do at all; prints seconds for each."""

import json
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait

jobs, threads = json.loads(sys.argv[1]), 2


def timed(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def latency(pool):
    time.sleep(0.002)
    submitted = time.perf_counter()
    return pool.submit(lambda: time.perf_counter() - submitted).result()


with ThreadPoolExecutor(threads) as pool:
    pool.submit(int).result()
    join = timed(lambda: [pool.submit(int).result() for _ in range(jobs["submit_and_join"])])
    fan = timed(lambda: wait([pool.submit(int) for _ in range(jobs["fan_out"])]))
    idle = statistics.median(latency(pool) for _ in range(jobs["idle_latency"]))
with ThreadPoolExecutor(100) as pool:
    wait([pool.submit(time.sleep, 0.01) for _ in range(100)])
    sleeps = timed(lambda: wait([pool.submit(time.sleep, 0.01) for _ in range(jobs["blocking"])]))
print(json.dumps({"submit and join": join, "fan-out, 1 submitter": fan, "submit to an idle pool": idle, "sleeps on 100 threads": sleeps}))
