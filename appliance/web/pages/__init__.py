"""The routes: one blueprint a module."""
