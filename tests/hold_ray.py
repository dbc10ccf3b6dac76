"""A Ray cluster of this machine, of the nodes that a test wants, in a program of its own.

    hold_ray.py     then a command a line: add NAME CPUS PORT · kill NAME · end

Each command is answered by a line of JSON. All processes die with this one; their files are below RAY_TMPDIR.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from ray.cluster_utils import Cluster


def main() -> None:
    cluster = Cluster()
    shared: dict[str, Any] = {"object_store_memory": 100 * 1_048_576, "include_dashboard": False}
    nodes: dict[str, Any] = {}

    def add(name: str, cpus: str, port: str) -> dict[str, str]:
        head = {"gcs_server_port": int(port)} if cluster.head_node is None else {}
        nodes[name] = cluster.add_node(num_cpus=int(cpus), **shared, **head)
        return {"address": cluster.address, "worker": f"ray-{nodes[name].node_id[:12]}"}

    def kill(name: str) -> dict[str, str]:
        cluster.remove_node(nodes.pop(name), allow_graceful=False)
        return {}

    commands = {"add": add, "kill": kill}
    for line in sys.stdin:
        name, *given = line.split()
        if name == "end":
            break
        print(json.dumps(commands[name](*given)), flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
