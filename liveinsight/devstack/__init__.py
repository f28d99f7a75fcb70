"""Development stack: the whole pipeline, or only a local AWS stack, on one machine.

In: settings and a folder for state. Out: child processes on loopback, stopped in order. The services are started as an
operator starts them; how they work is their own business. Nothing here runs in production.
"""
