"""What happens, while it happens:  python follow_events.py [URL]"""

import asyncio
import sys

import interlock
from interlock.client import AsyncClient
from interlock.client.frames import RunFinished, TaskFinished, TaskStarted


@interlock.task
def greet(params):
    return {"greeting": f"Hello, {params['name']}!"}


async def main():
    graph = interlock.Graph("greetings")
    first = graph.add(greet, name="Ada")
    graph.add(greet, name="Grace").after(first)
    run = await AsyncClient(*sys.argv[1:]).run(graph)
    async for frame in run.events():
        match frame:
            case TaskStarted():
                print(f"{frame.task_name} begins on {frame.node_id}, attempt {frame.attempt}")
            case TaskFinished():
                print(f"  it gave {frame.result}")
            case RunFinished():
                print(f"the run has {frame.status}")


asyncio.run(main())
