"""A LangGraph whose tools run on the server:  python langgraph_tools.py [URL]

Needs langgraph and cloudpickle here, and the same minor version of Python as the server's.
"""

import operator
import sys
from typing import Annotated, TypedDict

from langgraph.graph import END, START, StateGraph

from interlock.client import Client

client = Client(*sys.argv[1:])


class State(TypedDict):
    question: str
    found: Annotated[list, operator.add]


@client.langgraph_node(cpu=1)
def look_up(state):
    return {"found": [f"the library says: {state['question'].upper()}"]}


@client.langgraph_node(cpu=1)
def work_out(state):
    return {"found": [f"the machine says: {len(state['question'])} letters"]}


graph = StateGraph(State)
for name, tool in (("look_up", look_up), ("work_out", work_out)):
    graph.add_node(name, tool)
    graph.add_edge(START, name)
    graph.add_edge(name, END)

state = graph.compile().invoke({"question": "why", "found": []})
print("\n".join(sorted(state["found"])))
