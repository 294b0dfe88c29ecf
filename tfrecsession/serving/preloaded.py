"""What the processes of a server are forks of; they import nothing more.

The garbage collector leaves alone what is imported here. It would write to every object, and so copy each page that the
processes share.
"""

import gc

import tfrecsession.serving.server  # noqa: F401

gc.collect()
gc.freeze()
