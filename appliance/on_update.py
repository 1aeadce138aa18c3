"""`python -m appliance.on_update`: how updaters of every release call `commands/update_hooks.py`.

An updater also calls releases older or newer than itself, so this name never changes: see decision 76.
"""

import sys

from appliance.commands.update_hooks import main

if __name__ == "__main__":
    sys.exit(main())
