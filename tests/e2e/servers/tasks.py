# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""A Celery application whose broker is a folder ($CATALOGUE_BROKER), so no daemon is needed.

As a program it is the client: for each line "TASK WORKERS" on standard input it sends tasks until
that many workers have done one, and writes their pids on a line.
"""

import gc
import os
import sys
import time

from celery import Celery

import catalogue

FOLDER = os.environ["CATALOGUE_BROKER"]

app = Celery("tasks", broker="filesystem://", backend=f"file://{FOLDER}/results")
app.conf.update(
    broker_transport_options={
        "data_folder_in": f"{FOLDER}/queue", "data_folder_out": f"{FOLDER}/queue",
        "control_folder": f"{FOLDER}/control", "polling_interval": 0.05},
    worker_prefetch_multiplier=1, task_ignore_result=False)

if __name__ != "__main__":
    gc.disable()
    POMEGRANATES, QUINCES = catalogue.load()


@app.task(name="pid")
def pid():
    time.sleep(0.1)
    return os.getpid()


@app.task(name="read")
def read():
    catalogue.read_every_one(POMEGRANATES)
    time.sleep(0.1)
    return os.getpid()


@app.task(name="collect")
def collect():
    catalogue.sweep()
    time.sleep(0.1)
    return os.getpid()


def main():
    tasks = {"pid": pid, "read": read, "collect": collect}
    for line in sys.stdin:
        name, workers = line.split()
        pids = set()
        for _ in range(20):
            sent = [tasks[name].delay() for _ in range(int(workers))]
            pids.update(result.get(timeout=60, interval=0.05) for result in sent)
            if len(pids) >= int(workers):
                break
        print(*sorted(pids), flush=True)


if __name__ == "__main__":
    main()
