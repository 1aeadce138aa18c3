"""Records endlessly into a folder and prints each second that is on the disk: for tests that kill it.

`python -m tests.e2e.daemon.recording_child FOLDER ID [LIMIT]`:
LIMIT is the largest file in bytes, as on a full disk.
"""

from __future__ import annotations

import resource
import signal
import sys
from pathlib import Path

from appliance.records import StorageLimits, Store
from tests.fakes.records import second, session_info


def main() -> int:
    folder, id = Path(sys.argv[1]), sys.argv[2]
    store = Store(folder, StorageLimits(min_free_mb=0))
    store.tick()
    print(
        f"open {store.status.state} {[kept.id for kept in store.sessions() if kept.ended is None]}",
        flush=True,
    )
    if len(sys.argv) > 3:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        limit = int(sys.argv[3])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    stopped: list[str] = []
    store.on_stopped = lambda id, reason: stopped.append(reason)
    store.begin(session_info(id))
    number = 0
    while not stopped:
        store.add(id, [second(number), second(number, 2)])
        if not stopped:
            print(number, flush=True)
        number += 1
    print(f"stopped {store.status.state} {' '.join(stopped[0].split())}", flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
