"""Tasks on a Ray cluster: a driver that speaks to Ray, and a host on every node that runs attempts.

The server does not load Ray: that costs a second, 75 MB and its signal handlers. A program of its own, the *driver*,
is the client of the cluster and dies with its server (``driving`` starts it, ``driver`` is the program). On each
node it opens one actor, the *host*, which runs attempts in child processes of its own as ``pool`` does on the
server's machine, so that they can crash and be killed without harm to anything else. Ray retries nothing and counts
no resources for us: a node that is gone loses its attempts, and the engine decides what follows.

A call to an actor costs about a millisecond whatever it carries. So one call takes all that has come together while
the one before was under way, and one call brings all the reports there are (``lines``). What passes is JSON: nobody
unpickles what a function returned.

A host outlives its server by ``host.GRACE``: a server that takes an execution over gets the result of an attempt
that still runs, or has ended meanwhile, instead of running it again (``executor.RayExecutor.attach``).
"""
