"""The command line: a client of a running server, and the front of the programs that ``bootstrap`` hands in.

It talks HTTP to the app door like any other client, so that whatever it shows is what every client can see. What it
cannot ask over HTTP (start a server, migrate, check a file without a server) stands behind ``programs.Programs``.
"""
