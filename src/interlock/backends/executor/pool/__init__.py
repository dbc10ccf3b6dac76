"""A pool of child processes that run one attempt at a time each.

Why not the standard library's: there one dead child breaks the whole pool, what passes is pickled, and a running
call cannot be killed. Here a child is two small programs. ``guard`` is started by the server, starts ``child`` as
the head of a process group, and does nothing but wait for its pipe from the server to close. When it does, because
the server wants the child gone or because the server itself is gone, however that happened, the guard kills the
group and reaps the child. So there is one way to end a child for cancel, timeout, recycling, shut-down and
``kill -9`` of the server, it works while a child is stuck in C code, and it takes along the processes a function
started, unless they left the group.
Server and child speak JSON messages (``messages``) over a socket; artifacts and calls to the outside go through
the server, so that a child needs neither keys nor network.
"""
