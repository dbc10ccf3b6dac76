"""Two tasks, one after the other:  python first_graph.py [URL]"""

import sys

import interlock
from interlock.client import Client


@interlock.task
def split(params):
    return {"words": params["text"].split()}


@interlock.task(cpu=2, memory="256MiB", timeout=60)
def count(params):
    return {"count": len(params["words"]), "longest": max(params["words"], key=len)}


graph = interlock.Graph("words")
words = graph.add(split, text="workflows that outlive the processes they run in")
counted = graph.add(count, words=words["words"])

client = Client(*sys.argv[1:])  # http://127.0.0.1:8000 if none is named
results = client.run(graph).result(timeout=60)
print(results[counted])
