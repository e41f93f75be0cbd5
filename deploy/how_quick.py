"""Say how this Python is: 0 if it can make environments, else 1; how long it takes for a little work (s); its path.

Fails where it is too old for readside. `make` chooses by it.
"""

import importlib.util
import os
import sys
import time

if sys.version_info < (3, 11):  # noqa: UP036 (who asks may be any Python)
    sys.exit("readside needs Python 3.11 or newer.")
began = time.process_time()
for number in range(100_000):
    str([number]).split()
took = time.process_time() - began
sys.stdout.write(
    f"{int(importlib.util.find_spec('ensurepip') is None)} {took:.3f} {os.path.realpath(sys.executable)}\n"
)
