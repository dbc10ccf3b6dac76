"""Interlock: workflows that outlive the processes they run in, watched live, with people asked on the way."""
