"""Settings that Prefect reads when it is imported: no telemetry, and time enough for its server to start on a laptop.

Import this module before Prefect. What the environment sets already wins.
"""

import os

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
