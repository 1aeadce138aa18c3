"""Imports the entire appliance: updaters of every release test an environment with `import appliance.build`.

An updater also tests releases older or newer than itself, so this name never changes: see decision 76.
"""

from appliance.composition.appliance import make_appliance

__all__ = ["make_appliance"]
