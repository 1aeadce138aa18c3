"""`import appliance.build` loads the whole appliance: updaters of every release try an environment with it.

An updater also tries releases older or newer than itself, so this name never changes: see decision 76.
"""

from appliance.composition.appliance import make_appliance

__all__ = ["make_appliance"]
