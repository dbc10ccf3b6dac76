"""Tasks beside each other, one that fails, and what is left then:  python in_parallel.py [URL]"""

import sys

import interlock
from interlock.client import Client, Retry, RunFailed

LIMIT = 1000  # a function that uses this is sent as a pickle; that needs cloudpickle


@interlock.task(retry=Retry(attempts=2, backoff=0.1))
def check(params):
    if params["amount"] > LIMIT:
        raise ValueError(f"{params['amount']} is more than {LIMIT}")
    return {"fee": params["amount"] / 100}


@interlock.task
def add_up(params):
    return {"fees": params["first"] + params["second"]}


graph = interlock.Graph("fees")
small, middle = graph.add(check, amount=250), graph.add(check, amount=750)
large = graph.add(check, amount=5000)  # check_3
total = graph.add(add_up, first=small["fee"], second=middle["fee"])

try:
    Client(*sys.argv[1:]).run(graph).result(timeout=60)
except RunFailed as error:
    for name, failure in error.failures.items():
        print(f"{name} failed with {failure.error_type}: {failure.message}")
    print("the others gave", error.results[total])
