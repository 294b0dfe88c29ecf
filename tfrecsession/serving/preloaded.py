"""The imports of the process that all processes of a server are forks of.

The garbage collector leaves alone what is imported here. It would write to every object, and so copy each page that the
processes share.
"""

import gc

import tfrecsession.serving.server  # noqa: F401

gc.collect()
gc.freeze()
